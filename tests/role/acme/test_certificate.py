"""What the role reads of a certificate, compared with what made it."""

import datetime
import socket
import ssl
import threading

import pytest
from ansible.module_utils.aroundtheworld.certificate import parse, read_pem, served

from tests.role.acme.certificates import BEGIN, make

DAY = 86400


@pytest.mark.parametrize("year", [2026, 2049, 2050])  # from 2050 on, times are written otherwise
def test_names_and_times_are_read(year):
    begin = BEGIN.replace(year=year)
    made = make(["www.example.org", "*.example.org"], 45, begin, "192.0.2.1")
    certificate = read_pem(f"a comment\n{made.pem}{make(['other.example.org']).pem}")
    assert certificate == parse(made.der)
    assert certificate.names == ("www.example.org", "*.example.org", "192.0.2.1")
    assert certificate.begin == begin.timestamp()
    assert certificate.end == (begin + datetime.timedelta(days=45)).timestamp()


def test_a_certificate_with_many_names_is_read():
    names = [f"www{number}.example.org" for number in range(100)]
    assert [*parse(make(names).der).names] == names


def test_what_is_no_certificate_is_said_so():
    for der in (b"", b"0", b"0\x03\x02\x01\x01", make(["a.example"]).der[:-9]):
        with pytest.raises(ValueError, match="this is not a certificate"):
            parse(der)


def test_a_text_without_a_certificate_is_said_so():
    with pytest.raises(ValueError, match="no certificate"):
        read_pem("")


@pytest.mark.parametrize(("days", "late_after"), [(90, 75), (45, 37.5), (6, 5)])
def test_a_certificate_is_late_when_half_of_its_last_third_is_gone(days, late_after):
    certificate = parse(make(["a.example"], days).der)
    assert not certificate.late(certificate.begin + late_after * DAY - 60)
    assert certificate.late(certificate.begin + late_after * DAY + 60)


def test_the_names_that_it_lacks_are_those_that_no_name_of_it_covers():
    certificate = parse(make(["example.org", "*.shop.example.org"]).der)
    names = ["EXAMPLE.org", "a.shop.example.org", "a.b.shop.example.org", "shop.example.org"]
    assert certificate.lacks(names) == names[2:]


def test_what_a_server_shows_is_read_also_when_nobody_trusts_it(tmp_path):
    made = make(["www.example.org"], days=-1 / 24 + 1, begin=BEGIN.replace(year=2020))
    path = tmp_path / "both.pem"
    path.write_text(made.pem + made.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    asked = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with context.wrap_socket(connection, server_side=True) as tls:
                tls.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        certificate = served(server.getsockname()[1], "www.example.org")
        thread.join()
    assert (certificate.der, asked) == (made.der, ["www.example.org"])


def test_where_nobody_listens_there_is_no_certificate():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        served(port)
