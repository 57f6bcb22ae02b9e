"""What the benchmark of the front door reads from a client, from nginx's file, and makes of it."""

from __future__ import annotations

import pytest

from bench import frontdoor
from bench.frontdoor import Load, Way
from bench.host import BenchError

WAY = Way("a route", "https://127.0.0.1/", 400, http2=True)
# Processor time of nginx and the workers in ns, and of the machine in hundredths of a second.
OUTPUT = """used 1000000
used 100
used 200
Application protocol: {protocol}

finished in 2.50s, 160.00 req/s, 72.43KB/s
requests: 400 total, 400 started, 400 done, {good} succeeded, 0 failed, 0 errored, 0 timeout
status codes: {good} 2xx, 0 3xx, 0 4xx, {bad} 5xx
used 81000000
used 150
used 300
"""
SITE = """server {
    listen 80;
    return 301 https://$host;
    location / {
    }
}
server {
    listen 443 ssl http2;
    ssl_certificate /etc/shop/tls/certificate.pem;
    ssl_reject_handshake on;
}
server {
    listen 443 ssl http2;
    ssl_certificate /etc/shop/tls/certificate.pem;
    ssl_protocols TLSv1.3;
    location / {
        ssl_no_line_of_the_server on;
    }
}
"""


def output(protocol: str = "h2", bad: int = 0) -> str:
    return OUTPUT.format(protocol=protocol, good=400 - bad, bad=bad)


def test_a_burst_has_its_rate_and_what_nginx_and_the_workers_took_for_a_request():
    assert frontdoor.read(output(), WAY) == Load(rate=160.0, cost=200.0)


@pytest.mark.parametrize("said", [output(bad=1), output("http/1.1"), ""])
def test_a_burst_that_failed_or_spoke_another_protocol_is_no_measurement(said: str):
    with pytest.raises(BenchError, match=r"https://127\.0\.0\.1/ was answered"):
        frontdoor.read(said, WAY)


def test_bare_nginx_gets_the_lines_about_tls_of_the_server_that_visitors_use():
    assert frontdoor.tls(SITE) == [
        "ssl_certificate /etc/shop/tls/certificate.pem;",
        "ssl_protocols TLSv1.3;",
    ]
    with pytest.raises(BenchError, match="no server with a certificate"):
        frontdoor.tls("server {\n    listen 80;\n}\n")


def test_the_ratios_compare_the_same_with_the_same():
    # A rate and a cost for each way; whoever is twice as slow costs twice as much.
    times = {
        frontdoor.FILE_BARE: 1,
        frontdoor.FILE_OURS: 2,
        frontdoor.ROUTE_BARE: 10,
        frontdoor.ROUTE_HTTP: 12,
        frontdoor.ROUTE_HTTPS: 15,
    }
    found = {way.name: [Load(60 / cost, float(cost))] for way, cost in times.items()}
    limited = [figure for figure in frontdoor.figures(found) if figure.limit]
    assert [figure.median for figure in limited] == pytest.approx([0.5, 12 / 15, 1.2])
    assert [figure.at_least for figure in limited] == [True, True, False]
