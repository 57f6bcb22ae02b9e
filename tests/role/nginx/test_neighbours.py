"""What the plan finds in an nginx that has others' sites already; it and they are real."""

import json
import re

import pytest
from ansible.module_utils.aroundtheworld import belongings
from ansible.module_utils.aroundtheworld.layout import CLAIM
from ansible.module_utils.aroundtheworld.nginx import examine
from ansible.module_utils.aroundtheworld.nginx.configuration import Configuration
from ansible.module_utils.aroundtheworld.nginx.influences import warnings
from ansible.module_utils.aroundtheworld.nginx.neighbours import Intent, Neighbourhood

from tests.role.nginx.process import NGINX, NGINX_ORG, Host, free_port, needs_nginx

pytestmark = needs_nginx

NAMED = ("shop.example", "www.shop.example")


@pytest.fixture
def port():
    return free_port()


OF_BLOG = f"{belongings.mark('blog')}\n"


@pytest.fixture
def look(tmp_path, port, monkeypatch):
    """Returns a function that returns what the plan finds on a host with these files in conf.d."""
    monkeypatch.setattr(examine, "program", lambda: NGINX)

    def look(*files, names=NAMED, ipv6=False, remove_default=True, claims=(), tls=False, **more):
        host = Host(tmp_path, **more)
        look.host = host
        for number, text in enumerate(files):
            (host.etc / "conf.d" / f"other{number}.conf").write_text(text % {"port": port})
        for name, text in claims:
            (host.own / name).mkdir()
            claim = {"home": "", "user": "", "server_names": [], "pools": [], "sockets": []}
            (host.own / name / CLAIM).write_text(
                json.dumps({"site": name, "http_port": port, **claim})
            )
            (host.etc / "conf.d" / f"{name}.conf").write_text(text % {"port": port})
        code, _, error = host.nginx("-t", "-q")
        look.error = error
        assert code == 0 or "expect_broken" in host.main.read_text(), error
        intent = Intent("shop", port, tuple(names), ipv6, remove_default, tls=tls)
        return examine.examine(host.run, [intent], host.etc, host.own)

    return look


def nothing(found):
    (port,) = found["ports"].values()
    return (found["problems"], found["warnings"], port["dual_stack"]) == ([], [], False)


def test_nginx_and_its_openssl_have_versions(look):
    found = look()
    assert (1, 22) <= found["version"] < (3,)
    assert (3,) <= found["openssl"] < (5,)


@pytest.mark.parametrize(
    ("files", "claims", "free"),
    [
        ((), (), ["*"]),
        (("server { listen %(port)d; server_name blog.example; }",), (), []),
        (("server { listen 127.0.0.1:%(port)d; server_name blog.example; }",), (), ["*"]),
        ((), [("blog", f"{OF_BLOG}server {{ listen %(port)d; server_name a.b; }}")], ["*"]),
        ((), [("blog", f"{OF_BLOG}server {{ listen %(port)d default_server; }}")], []),
    ],
    ids=["nobody", "a neighbour", "another address", "a site of the role", "one that has them"],
)
def test_unknown_names_are_the_sites_where_nobody_else_gets_them(look, files, claims, free):
    (port,) = look(*files, claims=claims)["ports"].values()
    assert port["free"] == free


def test_a_port_for_https_is_shared_with_https_only(look):
    (problem,) = look("server { listen %(port)d; server_name a.b; }", tls=True)["problems"]
    assert "nginx would expect TLS from the visitors of listen" in problem
    assert "other0.conf:1) too; choose another port, or add 'ssl' there." in problem


@pytest.mark.parametrize(("options", "without"), [([""], 1), ([" http2"], 0), (["", " http2"], 0)])
def test_a_neighbour_with_https_may_be_without_http2(look, options, without):
    text = "server {{ listen %(port)d ssl{}; ssl_reject_handshake on; server_name a{}.b; }}"
    found = look(*(text.format(*pair) for pair in zip(options, range(2), strict=False)), tls=True)
    (port,) = found["ports"].values()
    assert (found["problems"], len(port["others_without_http2"])) == ([], without)


@pytest.mark.parametrize("layout", [{}, {"includes": NGINX_ORG}])
@pytest.mark.parametrize("names", [NAMED, ("_",)])
def test_an_nginx_as_its_package_brings_it_is_fit(look, layout, names):
    assert nothing(look(names=names, **layout))


@pytest.mark.parametrize(
    "text",
    [
        "server { listen %(port)d; server_name blog.example *.example; }",
        "server { listen %(port)d; server_name ~^blog; }",
        "server { listen 127.0.0.1:%(port)d; server_name blog.example; }",
        "server { listen %(port)d reuseport backlog=64 so_keepalive=on; server_name a.example; }",
        "server { listen %(port)d default_server; return 404; }",
        "server { listen 127.0.0.1:%(port)d ssl; server_name blog.example; "
        "ssl_certificate_key data:$host; ssl_certificate data:$host; }",
        "server { listen unix:/tmp/x.sock; server_name shop.example; }",
        "map $uri $shopping { default 1; } upstream shopping { server 127.0.0.1:9; }",
        "upstream shop { server 127.0.0.1:9; }",
        "merge_slashes off; underscores_in_headers on; ignore_invalid_headers off;",
        "proxy_buffering off; proxy_intercept_errors on; expires 1y; ssi on; auth_basic off;",
    ],
)
def test_a_neighbour_that_does_no_harm_is_not_reported(look, text):
    found = look(text)
    assert (found["problems"], found["warnings"]) == ([], [])


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        (
            "server { listen %(port)d; server_name shop.example; }",
            NAMED,
            "to 'shop.example' on port",
        ),
        (
            "server { listen %(port)d; server_name .SHOP.example; }",
            NAMED,
            "to 'shop.example' on port",
        ),
        (
            "server { listen 127.0.0.1:%(port)d; server_name www.shop.example; }",
            NAMED,
            "to 'www.shop.example' on port",
        ),
        (
            "server { listen %(port)d; server_name .blog.example; }",
            ("*.blog.example",),
            r"to '\*\.blog\.example' on port",
        ),
        ("server { listen %(port)d; server_name ~.; }", ("_",), "answers to names that match '~.'"),
        (
            "server { listen %(port)d default_server; server_name blog.example; }",
            ("_",),
            "'_' makes this the default server .*listen .* default_server",
        ),
        (
            "server { listen %(port)d default_server; listen 127.0.0.1:%(port)d; server_name _; }",
            ("_",),
            "default server .*listen .* default_server",
        ),
        ("server { listen %(port)d; }", ("_",), "has no name.*host names"),
        ("server { listen %(port)d; server_name _; }", ("_",), "has no name"),
        (
            "server { listen %(port)d proxy_protocol; server_name blog.example; }",
            NAMED,
            "expects the PROXY protocol",
        ),
        (
            "server { listen %(port)d ssl; server_name blog.example; "
            "ssl_certificate_key data:$host; ssl_certificate data:$host; }",
            NAMED,
            "expects TLS",
        ),
        ("upstream shop_backends { server 127.0.0.1:9; }", NAMED, "upstream 'shop_backends'"),
        ("map $uri $shop_port { default 1; }", NAMED, "map 'shop_port'"),
        ("log_format shop $uri;", NAMED, "log_format 'shop'"),
        ("limit_req_zone $uri zone=shop_x:1m rate=1r/s;", NAMED, "limit_req_zone 'shop_x'"),
    ],
)
def test_a_neighbour_in_the_way_is_named_with_its_file(look, text, names, expected):
    (problem,) = look(text, names=names)["problems"]
    assert re.search(expected, problem), problem
    assert "other0.conf:1" in problem
    assert problem.startswith("aroundtheworld_")


def test_http2_of_a_neighbour_is_in_the_way_where_nginx_knows_one_protocol_a_port(look, port):
    found = look("server { listen %(port)d http2; server_name blog.example; }")
    version = look.host.nginx("-v")[2]
    older = "/1.22" in version
    assert bool(found["problems"]) is older
    assert not older or "expects HTTP/2" in found["problems"][0]


def test_a_neighbour_that_is_reached_as_the_first_only_stays_the_first(look):
    text = "server { listen %(port)d; return 200 blog; }"
    # conf.d comes before sites-enabled, so it is first anyway.
    assert nothing(look(text))


def test_a_site_that_would_come_before_such_a_neighbour_is_refused(look):
    look()
    (look.host.etc / "sites-enabled" / "zz.conf").write_text(
        f"server {{ listen {look.host.default_port + 0}; }}"
    )
    intent = Intent("shop", look.host.default_port, NAMED, ipv6=False)
    found = examine.examine(look.host.run, [intent], look.host.etc, look.host.own)
    (problem,) = found["problems"]
    assert "add 'default_server' to its listen" in problem
    assert "zz.conf:1" in problem


def test_a_default_site_of_ones_own_is_in_the_way_of_every_name_only(look):
    look()
    default = look.host.etc / "sites-available" / "default"
    port = look.host.default_port
    ours = Intent("shop", port, ("_",), ipv6=False)
    look_again = lambda intent: examine.examine(  # noqa: E731
        look.host.run, [intent], look.host.etc, look.host.own
    )
    assert nothing(look_again(ours))
    kept = Intent("shop", port, ("_",), ipv6=False, remove_default=False)
    (problem,) = look_again(kept)["problems"]
    assert "aroundtheworld_remove_default_site: true" in problem
    default.write_text(default.read_text() + "# mine\n")
    (problem,) = look_again(ours)["problems"]
    assert f"{look.host.etc}/sites-enabled/default:1" in problem
    assert "remove 'default_server' there" in problem
    assert nothing(look_again(Intent("shop", port, NAMED, ipv6=False)))


def test_a_socket_for_both_families_is_shared(look):
    text = "server { listen [::]:%(port)d ipv6only=off; server_name blog.example; }"
    found = look(text)
    (port,) = found["ports"].values()
    assert (found["problems"], port["dual_stack"], port["free"]) == ([], True, [])
    (warning,) = found["warnings"]
    assert "ipv6only=off" in warning
    assert "other0.conf:1" in warning


@pytest.mark.parametrize(
    ("text", "where", "expected"),
    [
        ("deny 192.0.2.1; add_trailer X-A b;", "http", "add_trailer .*deny|deny .*add_trailer"),
        ("add_header X-A b;", "http", "add_header .* does not apply .* set aroundtheworld_headers"),
        ("sub_filter a b;", "http", "sub_filter"),
        (
            "set_real_ip_from 0.0.0.0/0;",
            "http",
            "set_real_ip_from .* set aroundtheworld_trusted_prox",
        ),
        (
            "server { listen %(port)d default_server; server_name blog.example; "
            "large_client_header_buffers 4 1k; }",
            "http",
            "large_client_header_buffers 4 1k",
        ),
        ("worker_shutdown_timeout 10s;", "main", "worker_shutdown_timeout 10s"),
        ("events { worker_connections 64; }", "events", "worker_connections 64"),
        (
            "server { listen 127.0.0.1:%(port)d; } server { listen 192.0.2.7:%(port)d; }",
            "any",
            "listen 192.0.2.7",
        ),
    ],
)
def test_a_line_that_affects_the_site_is_named_with_its_place(look, port, text, where, expected):
    if where == "any":
        # An address that the host does not have; nginx would not bind it.
        configuration = Configuration.of({"/x/nginx.conf": "http { %s }" % (text % {"port": port})},
                                         "/x/nginx.conf")  # fmt: skip
        look()
        neighbourhood = Neighbourhood(
            look.host.run,
            Intent("shop", port, NAMED, ipv6=False),
            configuration,
            look.host.etc,
            look.host.own,
        )
        found = list(warnings(neighbourhood))
    elif where == "http":
        found = look(text)["warnings"]
    elif where == "main":
        found = look(main=text)["warnings"]
    else:
        look()
        main = look.host.main.read_text().replace("events {}", text)
        look.host.main.write_text(main)
        intent = Intent("shop", port, NAMED, ipv6=False)
        found = examine.examine(look.host.run, [intent], look.host.etc, look.host.own)["warnings"]
    (warning,) = found
    assert re.search(expected, warning), warning
    assert re.search(r"\.conf:\d+", warning)


@pytest.mark.parametrize("options", ["", " proxy_protocol"])
def test_the_port_of_the_proxy_protocol_is_the_sites_alone(look, port, options):
    look("server { listen %(port)d" + options + "; server_name blog.example; }")
    variable = "aroundtheworld_proxy_protocol_port"
    intent = Intent("shop", port, NAMED, ipv6=False, proxy_protocol=True, variable=variable)
    (problem,) = examine.examine(look.host.run, [intent], look.host.etc, look.host.own)["problems"]
    assert problem.startswith(f"aroundtheworld_proxy_protocol_port: port {port} is in nginx ")
    assert "other0.conf:1" in problem


def test_what_the_site_decides_about_itself_is_not_missed(look, port):
    look("add_header X-A b; add_header X-B c; set_real_ip_from 192.0.2.1;")
    decided = ("add_header x-a", "add_header x-b", "set_real_ip_from")
    intent = Intent("shop", port, NAMED, ipv6=False, decided=decided)
    assert nothing(examine.examine(look.host.run, [intent], look.host.etc, look.host.own))


def test_warnings_are_a_few_lines_at_most(look):
    many = "".join(f"add_trailer X-{number} a; deny 192.0.2.{number};\n" for number in range(50))
    (warning,) = look(many)["warnings"]
    assert "and 94 more" in warning


def test_what_is_broken_already_is_named_with_its_file(look, monkeypatch):
    look()
    (look.host.etc / "conf.d" / "broken.conf").write_text("\nsever {}\n")
    intent = Intent("shop", 80, NAMED, ipv6=False)
    found = examine.examine(look.host.run, [intent], look.host.etc, look.host.own)
    (problem,) = found["problems"]
    assert re.search(r'unknown directive "sever" in .*/broken\.conf:2', problem)


def test_a_site_of_which_a_run_was_cut_off_is_for_the_next_run_to_mend(look):
    look()
    (look.host.etc / "sites-enabled" / "shop.conf").write_text("sever {}\n")
    intent = Intent("shop", 80, NAMED, ipv6=False)
    found = examine.examine(look.host.run, [intent], look.host.etc, look.host.own)
    assert found["problems"] == []


@pytest.mark.parametrize(
    ("directory", "count"),
    [
        ("etc/shop/tls", 0),
        ("etc/letsencrypt/live/aroundtheworld-shop", 0),
        ("etc/letsencrypt/live/blog", 1),
    ],
)
def test_a_certificate_of_the_site_that_is_gone_is_for_the_next_run_to_mend(look, directory, count):
    look()
    gone = look.host.root / directory / "fullchain.pem"
    text = f"server {{ listen 8443 ssl; ssl_certificate {gone}; ssl_certificate_key {gone}; }}"
    (look.host.etc / "sites-enabled" / "shop.conf").write_text(text)
    intent = Intent("shop", 80, NAMED, ipv6=False)
    found = examine.examine(look.host.run, [intent], look.host.etc, look.host.own)
    assert len(found["problems"]) == count


@pytest.mark.parametrize(("directory", "count"), [("shop", 0), ("shopkeeper", 1)])
def test_the_sites_logs_are_for_the_next_run_to_make_where_somebody_removed_them(
    look, directory, count
):
    look()
    log = look.host.root / "var/log/nginx" / directory / "access.log"
    text = f"server {{ listen 8080; access_log {log}; }}"
    (look.host.etc / "sites-enabled" / "shop.conf").write_text(text)
    intent = Intent("shop", 80, NAMED, ipv6=False)
    found = examine.examine(look.host.run, [intent], look.host.etc, look.host.own)
    assert len(found["problems"]) == count


def test_a_file_of_the_sites_name_that_is_somebodys_is_left_alone(look):
    look(includes=NGINX_ORG)
    (look.host.etc / "conf.d" / "shop.conf").write_text("# a shop\n")
    intent = Intent("shop", 80, NAMED, ipv6=False)
    found = examine.examine(look.host.run, [intent], look.host.etc, look.host.own)
    (problem,) = found["problems"]
    assert f"{look.host.etc}/conf.d/shop.conf exists and is not from this role" in problem


def test_a_file_of_the_site_that_somebody_edited_is_still_the_sites(look):
    look(includes=NGINX_ORG)
    path = look.host.etc / "conf.d" / "shop.conf"
    path.write_text("server { server_name shop.example; }\n")
    claim = {"home": "", "user": "", "server_names": [], "pools": [], "sockets": []}
    has = {"files": [str(path)], "directories": [], "users": []}
    (look.host.own / "shop" / CLAIM).write_text(
        json.dumps({"site": "shop", "http_port": 80, "has": has, **claim})
    )
    intent = Intent("shop", 80, NAMED, ipv6=False)
    assert nothing(examine.examine(look.host.run, [intent], look.host.etc, look.host.own))


@pytest.mark.parametrize("state", ["not-found", "masked"])
def test_an_nginx_that_systemd_cannot_reload_is_refused(look, state):
    look()

    def run(command):
        return (0, f"{state}\n", "") if command[0] == "systemctl" else look.host.run(command)

    intent = Intent("shop", 80, NAMED, ipv6=False)
    (problem,) = examine.examine(run, [intent], look.host.etc, look.host.own)["problems"]
    assert state in problem


def test_an_nginx_that_includes_nothing_is_refused(look):
    (problem,) = look(includes="include mime.types;")["problems"]
    assert "no directory is included in the http block" in problem
    assert "'mime.types'" in problem


def test_other_sites_of_the_role_are_not_neighbours(look):
    text = f"{belongings.mark('other')}\nserver {{ listen %(port)d; server_name shop.example; }}"
    assert nothing(look(claims=[("other", text)]))
    (look.host.own / "other" / CLAIM).unlink()
    intent = Intent("shop", 1, NAMED, ipv6=False)
    assert examine.examine(look.host.run, [intent], look.host.etc, look.host.own)["there"]


def test_an_nginx_that_cannot_be_reloaded_is_refused(look):
    (problem,) = look(main="master_process off;")["problems"]
    assert "master_process off" in problem


@pytest.mark.parametrize("length", [46, 47, 110])
def test_a_name_that_is_too_long_for_nginx_is_refused_and_no_shorter_one(look, port, length):
    name = "a" * (length - 8) + ".example"
    found = look("server { listen %(port)d; server_name blog.example; }", names=(name,))
    host = look.host
    (host.etc / "conf.d" / "try.conf").write_text(
        f"server {{ listen {port}; server_name {name}; }}\n"
    )
    refused = "server_names_hash_bucket_size" in host.nginx("-t", "-q")[2]
    assert bool(found["problems"]) is refused is (length > 46)
    if refused:
        directive = re.search(r"server_names_hash_bucket_size \d+;", found["problems"][0])[0]
        main = host.main.read_text().replace("http {", f"http {{ {directive}")
        host.main.write_text(main)
        assert host.nginx("-t", "-q")[0] == 0
        (host.etc / "conf.d" / "try.conf").unlink()
        intent = Intent("shop", port, (name,), ipv6=False)
        assert examine.examine(host.run, [intent], host.etc, host.own)["problems"] == []


def test_an_nginx_that_was_started_by_hand_is_reported(look, port, monkeypatch):
    monkeypatch.setattr(examine, "strangers", lambda port: [812])
    (problem,) = look()["problems"]
    assert "an nginx that nginx.service did not start (process 812)" in problem


def test_a_host_without_nginx_has_nothing_to_tell(look, monkeypatch):
    look()
    monkeypatch.setattr(examine, "program", lambda: "")
    intent = Intent("shop", 80, NAMED, ipv6=False)
    found = examine.examine(look.host.run, [intent], look.host.etc, look.host.own)
    assert nothing(found)
    assert not found["there"]
