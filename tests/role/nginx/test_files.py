"""Static files are sent compressed as they were deployed, and an app's responses as they are."""

import gzip
import hashlib
import http.client

import pytest
from ansible.module_utils.aroundtheworld.assets import Assets

from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import Site

pytestmark = needs_nginx

GZIP = {"Accept-Encoding": "gzip, deflate, br"}
RED, BLUE = (f"body {{ color: {color} }}\n" * 50 for color in ("red", "blue"))
VERSION = "?v=" + hashlib.sha512(RED.encode()).hexdigest()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site with two releases, of which the first is the current one."""
    site = Site(tmp_path_factory.mktemp("files"), admin={"compress": True})
    for release, text in {"one": RED, "two": BLUE}.items():
        files = site.home / "releases" / release / "app" / "x"
        files.mkdir(parents=True)
        (files / "style.css").write_text(text)
        (files / "short.css").write_text("p {}")
        (files / "photo.png").write_text(text)
        (files / f"{release}.mjs").write_text(text)
    run(site, "one")
    Assets(site.home, [{"url": "/static/", "directory": "x"}]).update()
    yield site
    site.stop()


def run(site, release):
    (site.home / "current").unlink(missing_ok=True)
    (site.home / "current").symlink_to(f"releases/{release}")


@pytest.fixture
def get(site):
    """Returns a function that returns status, headers and what came over the wire."""

    def get(path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers={"Host": "shop.example", **names})
        response = connection.getresponse()
        try:
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    return get


PATHS = ["/static/style.css", f"/static/style.css{VERSION}", "/static/one.mjs", "/static/two.mjs"]
TEXTS = [RED, RED, RED, BLUE]


def test_a_file_is_sent_compressed_to_who_takes_that(get):
    for path, text in zip(PATHS, TEXTS, strict=True):
        found = {}
        for encoding, accepted in {"gzip": GZIP, None: {}}.items():
            status, headers, content = get(path, **accepted)
            assert (status, headers["Content-Encoding"]) == (200, encoding)
            assert headers["Vary"] == "Accept-Encoding"
            assert headers["Content-Length"] == str(len(content))
            assert (gzip.decompress(content) if encoding else content).decode() == text
            if ".mjs" in path:
                assert headers["Content-Type"] == "text/javascript"
            lasting = "public, max-age=31536000, immutable" if "?" in path else "public, no-cache"
            assert headers["Cache-Control"] == lasting
            assert get(path, "HEAD", **accepted)[1]["Content-Length"] == str(len(content))
            found[encoding] = headers
        assert found["gzip"]["Last-Modified"] == found[None]["Last-Modified"]
        assert found["gzip"]["ETag"] != found[None]["ETag"]


def test_a_proxy_is_sent_it_too_and_who_refuses_it_is_not(get):
    path = PATHS[0]
    assert get(path, Via="1.1 cdn", **GZIP)[1]["Content-Encoding"] == "gzip"
    for accepted in ("br", "gzip;q=0", "identity"):
        status, headers, content = get(path, Accept_Encoding=accepted)
        assert (status, headers["Content-Encoding"], content.decode()) == (200, None, RED)


def test_what_is_not_worth_it_is_sent_as_it_is(get):
    for name in ("short.css", "photo.png"):
        status, headers, _ = get(f"/static/{name}", **GZIP)
        assert (status, headers["Content-Encoding"]) == (200, None)


def test_a_file_that_the_visitor_has_is_not_sent_again(get):
    tags = {encoding: get(PATHS[0], Accept_Encoding=encoding)[1]["ETag"]
            for encoding in ("gzip", "identity")}  # fmt: skip
    for encoding, tag in tags.items():
        statuses = {
            other: get(PATHS[0], Accept_Encoding=other, If_None_Match=tag)[0] for other in tags
        }
        assert statuses == {other: 304 if other == encoding else 200 for other in tags}
    _, headers, content = get(PATHS[0], If_None_Match=tags["gzip"], **GZIP)
    assert (headers["Vary"], headers["ETag"], content) == ("Accept-Encoding", tags["gzip"], b"")


def test_a_part_of_a_file_is_a_part_of_what_would_be_sent_whole(get):
    for accepted in ({}, GZIP):
        _, headers, whole = get(PATHS[0], **accepted)
        status, part, content = get(PATHS[0], Range="bytes=5-14", **accepted)
        assert part["Content-Encoding"] == headers["Content-Encoding"]
        # Before 1.23, nginx sends a compressed file whole, as a server may.
        if status == 200 and accepted:
            assert content == whole
        else:
            assert (status, content) == (206, whole[5:15])
            assert part["Content-Range"] == f"bytes 5-14/{len(whole)}"
        other = {} if accepted else GZIP
        assert get(PATHS[0], Range="bytes=5-14", If_Range=headers["ETag"], **other)[0] == 200


def test_the_next_release_and_a_rollback_change_both(site, get):
    for release, text in {"two": BLUE, "one": RED}.items():
        run(site, release)
        assert get(PATHS[0])[2].decode() == text
        assert gzip.decompress(get(PATHS[0], **GZIP)[2]).decode() == text
        assert gzip.decompress(get(PATHS[1], **GZIP)[2]).decode() == RED


def test_an_apps_response_is_compressed_only_where_its_pool_wants_that(get):
    status, headers, content = get("/page", **GZIP)
    assert (status, headers["Content-Encoding"], headers["Vary"]) == (200, None, None)
    assert content == b"page" * 1000
    status, headers, content = get("/admin/page", **GZIP)
    assert (status, headers["Content-Encoding"], headers["Vary"]) == (
        200,
        "gzip",
        "Accept-Encoding",
    )
    assert gzip.decompress(content) == b"page" * 1000
    assert get("/admin/page")[1]["Content-Encoding"] is None
