"""What the runner has Tornado remember is what Tornado would compute again."""

import datetime
import time
from collections import Counter

import harness
import pytest
from tornado import httputil, netutil

from aroundtheworld_runner import remembered


@pytest.fixture
def computed(monkeypatch):
    """Count what Tornado computes, in a process in which it remembers."""
    calls = Counter()

    def counted(module, name):
        function = getattr(module, name)

        def count(argument):
            calls[name, argument] += 1
            return function(argument)

        monkeypatch.setattr(module, name, count)

    counted(netutil, "is_valid_ip")
    counted(httputil, "format_timestamp")
    remembered.remember()
    return calls


def test_an_address_is_checked_once(computed):
    for _ in range(2):
        assert netutil.is_valid_ip("192.0.2.1")
        assert netutil.is_valid_ip("2001:db8::1")
        assert not netutil.is_valid_ip("192.0.2.1, 192.0.2.2")
        assert not netutil.is_valid_ip("")
    assert set(computed.values()) == {1}


def test_as_many_addresses_as_visitors_make_up_are_not_kept(computed):
    for number in range(remembered.ADDRESSES + 1):
        netutil.is_valid_ip(f"made up {number}")
    netutil.is_valid_ip("made up 0")
    assert computed["is_valid_ip", "made up 0"] == 2


def test_the_date_is_written_once_a_second(computed):
    texts = [httputil.format_timestamp(1_700_000_000 + part) for part in (0.0, 0.25, 0.99, 1.0)]
    assert texts == ["Tue, 14 Nov 2023 22:13:20 GMT"] * 3 + ["Tue, 14 Nov 2023 22:13:21 GMT"]
    assert sum(computed.values()) == 2


@pytest.mark.parametrize(
    "moment",
    [
        0,
        0.0,
        -0.5,
        1_700_000_000,
        time.gmtime(1_700_000_000),
        tuple(time.gmtime(1_700_000_000)),
        datetime.datetime(2023, 11, 14, 22, 13, 20),
        datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.UTC),
    ],
)
def test_a_time_is_written_as_tornado_writes_it(moment, monkeypatch):
    expected = httputil.format_timestamp(moment)
    monkeypatch.setattr(netutil, "is_valid_ip", netutil.is_valid_ip)
    monkeypatch.setattr(httputil, "format_timestamp", httputil.format_timestamp)
    remembered.remember()
    assert httputil.format_timestamp(moment) == expected


def test_a_worker_remembers_its_visitors_addresses(start, listening):
    start().ready()
    with harness.client(listening) as client:
        for _ in range(2):
            client.request("GET", "/checked-addresses", headers={"X-Real-IP": "192.0.2.1"})
            answer = client.getresponse().read()
    assert answer == b"1 remembered"
