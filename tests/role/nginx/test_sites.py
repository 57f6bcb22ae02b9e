"""A real nginx accepts every site that the role may render, alone and beside another one."""

import re
import subprocess

import pytest
from ansible.module_utils.aroundtheworld.nginx.change import ALONE

from tests import certificates
from tests.matrix import chosen
from tests.render import ADMIN, HOST, MODELS, PUBLIC, render, variables_for
from tests.role.nginx.process import NGINX, needs_nginx

pytestmark = needs_nginx
NOBODY_ELSE = {"free": ["*", "[::]"]}
OTHER = {
    "aroundtheworld_site": "other",
    "aroundtheworld_pools": [{**PUBLIC, "ports": [11001]}, {**ADMIN, "ports": [11002]}],
}


def verdict(directory, *models):
    """Return nginx's messages about the sites together, an empty text when it accepts them."""
    (directory / "mime.types").write_text("types { text/html html; }\n")
    certificate, key = certificates.root().issue("www.example.org", "example.org")
    (directory / "shop.pem").write_text(certificate)
    (directory / "shop.key").write_text(key)
    text = ""
    for number, model in enumerate(models):
        other = OTHER if number else {}
        site = render("site.conf.j2", variables_for(MODELS[model] | other, port=NOBODY_ELSE))
        text += re.sub(r"/etc/nginx|/etc/ssl|/var/log/nginx/\w+", str(directory), site)
    # To bind the port, which a test of the configuration does, an ordinary user needs a higher one.
    text = re.sub(r"(listen (?:\[::\]:)?)(80|8080)\b", r"\g<1>18080", text)
    text = re.sub(r"(listen (?:\[::\]:)?)443\b", r"\g<1>18443", text)
    # Debian's nginx was built for directories that only its package makes.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    text += "".join(f"{kind}_temp_path {directory};\n" for kind in kinds)
    (directory / "site.conf").write_text(text)
    main = directory / "nginx.conf"
    main.write_text(ALONE.format(directory=directory, etc=directory, site=directory / "site.conf"))
    done = subprocess.run(
        [NGINX, "-t", "-q", "-p", directory, "-e", directory / "error.log", "-c", main],
        capture_output=True,
        text=True,
        check=False,
    )
    known = re.compile(r"\[warn\] conflicting server name")
    message = [line for line in done.stderr.splitlines() if not known.search(line)]
    return "\n".join(message) if done.returncode or message else ""


@pytest.mark.parametrize("model", chosen(list(MODELS)))
def test_nginx_accepts_the_site(tmp_path, model):
    assert verdict(tmp_path, model) == ""


@pytest.mark.parametrize("model", ["own_names", "static_files", "https"])
def test_nginx_accepts_two_sites(tmp_path, model):
    assert verdict(tmp_path, "own_names", model) == ""


@pytest.mark.parametrize("waiting", [["www.example.org"], ["www.example.org", "example.org"]])
def test_nginx_accepts_a_site_whose_names_wait_for_their_certificate(
    tmp_path, monkeypatch, waiting
):
    files = {"certificate": "/etc/ssl/shop.pem", "key": "/etc/ssl/shop.key", "waiting": waiting}
    monkeypatch.setitem(HOST, "acme", {**HOST["acme"], **files})
    canonical = {"aroundtheworld_canonical_name": "example.org"}
    waits = MODELS["acme"] | MODELS["behind_proxies"] | MODELS["own_directives"] | canonical
    monkeypatch.setitem(MODELS, "waits", waits)
    assert verdict(tmp_path, "waits") == ""


def test_nginx_would_not_accept_one_name_for_two_zones(tmp_path, monkeypatch):
    wrong = render("site.conf.j2", variables_for({})).replace("_admin_at_once", "_admin_backends")
    monkeypatch.setattr("tests.role.nginx.test_sites.render", lambda *_: wrong)
    assert "aroundtheworld_admin_backends" in verdict(tmp_path, "default")
