"""The CA of the controller's own, for trying HTTPS out."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from aroundtheworld_controller.nginx.certificates import certificate_problems, key_problems
from aroundtheworld_controller.nginx.local_ca import ca_files, local_certificate

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def texts(directory):
    return {path.name: path.read_text() for path in directory.glob("*.pem")}


def test_a_certificate_holds_for_the_names_and_for_the_machine_itself(tmp_path):
    pair = local_certificate(["shop.example", "192.0.2.1"], tmp_path)
    names = ["shop.example", "192.0.2.1", "localhost", "127.0.0.1", "::1"]
    certificate, key = (path.read_text() for path in pair)
    assert list(certificate_problems(certificate, names, "x")) == []
    assert list(key_problems(certificate, key, "x")) == []
    assert list(certificate_problems(certificate, ["blog.example"], "x")) != []
    ssl.create_default_context(cafile=ca_files(tmp_path).certificate)
    for path in tmp_path.glob("*.pem"):
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["shop.example", "FD00:0:0::1", "fe80::1%eth0"])
def test_it_is_the_same_until_a_third_of_its_time_is_left(tmp_path, name):
    first = local_certificate([name], tmp_path, NOW)
    before = texts(tmp_path)
    assert local_certificate([name], tmp_path, NOW + timedelta(days=59)) == first
    assert texts(tmp_path) == before
    assert local_certificate([name], tmp_path, NOW + timedelta(days=61)) == first
    changed = {name for name, text in texts(tmp_path).items() if text != before[name]}
    assert changed == {first.certificate.name, first.key.name}  # the CA is the same


def test_other_names_have_a_certificate_of_their_own_from_the_same_ca(tmp_path):
    first = local_certificate(["shop.example"], tmp_path)
    second = local_certificate(["blog.example"], tmp_path)
    assert {*first}.isdisjoint(second)
    ca = ca_files(tmp_path).certificate.read_text()
    assert all(pair.certificate.read_text().endswith(ca) for pair in (first, second))


@pytest.mark.parametrize("lost", ["ca.pem", "ca-key.pem", "key", "certificate"])
def test_what_was_lost_or_cut_off_is_made_again(tmp_path, lost):
    pair = local_certificate(["shop.example"], tmp_path)
    path = getattr(pair, lost) if lost in pair._fields else tmp_path / lost
    path.write_text(path.read_text()[:50])
    pair = local_certificate(["shop.example"], tmp_path)
    certificate, key = (path.read_text() for path in pair)
    assert list(certificate_problems(certificate, ["shop.example"], "x")) == []
    assert list(key_problems(certificate, key, "x")) == []
    assert certificate.endswith(ca_files(tmp_path).certificate.read_text())
