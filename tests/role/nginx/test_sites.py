"""A real nginx accepts every site that the role may render, alone and beside another one."""

import re
import subprocess

import pytest
from ansible.module_utils.aroundtheworld.nginx.change import ALONE

from tests import certificates
from tests.render import MODELS, render, variables_for
from tests.role.nginx.process import NGINX, needs_nginx

pytestmark = needs_nginx
NOBODY_ELSE = {"free": ["*", "[::]"]}


def verdict(directory, *models):
    """Return nginx's messages about the sites together, an empty text when it accepts them."""
    (directory / "mime.types").write_text("types { text/html html; }\n")
    certificate, key = certificates.root().issue("www.example.org", "example.org")
    (directory / "shop.pem").write_text(certificate)
    (directory / "shop.key").write_text(key)
    text = ""
    for number, model in enumerate(models):
        names = {} if number == 0 else {"aroundtheworld_site": "other"}
        site = render("site.conf.j2", variables_for(MODELS[model] | names, port=NOBODY_ELSE))
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
    # nginx has one table for the variables of all sites. Its size may be set once for all of http,
    # so a site cannot; in a full bucket nginx looks a little longer.
    known = re.compile(r"\[warn\] (conflicting server name|could not build optimal variables_hash)")
    message = [line for line in done.stderr.splitlines() if not known.search(line)]
    return "\n".join(message) if done.returncode or message else ""


@pytest.mark.parametrize("model", MODELS)
def test_nginx_accepts_the_site(tmp_path, model):
    assert verdict(tmp_path, model) == ""


@pytest.mark.parametrize("model", ["own_names", "static_files", "https"])
def test_nginx_accepts_two_sites(tmp_path, model):
    assert verdict(tmp_path, "own_names", model) == ""


@pytest.mark.parametrize("model", MODELS)
def test_no_variable_of_a_site_is_one_of_another_site(model):
    """As `$shop_log_uri` would be for the sites `shop` and `shop_log`, if both had `$shop_uri`."""
    text = render("site.conf.j2", variables_for(MODELS[model] | {"aroundtheworld_site": "shop"}))
    ends = set(re.findall(r"\$\{?shop_(\w+)", text))
    assert [end for end in ends if any(end.endswith(f"_{other}") for other in ends)] == []


def test_nginx_would_not_accept_one_name_for_two_zones(tmp_path, monkeypatch):
    wrong = render("site.conf.j2", variables_for({})).replace("_admin_in_flight", "_admin_backends")
    monkeypatch.setattr("tests.role.nginx.test_sites.render", lambda *_: wrong)
    assert "aroundtheworld_admin_backends" in verdict(tmp_path, "default")
