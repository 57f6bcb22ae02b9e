"""An app from an archive is the same directory, made once, or refused by name."""

import hashlib
import tarfile

import pytest

from tests.role.repositories import FILES, archive, contents, refusal, source


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_is_unpacked_once(cache, tmp_path, mode):
    value = archive(tmp_path / "shop", *FILES.items(), mode=mode)
    app = source.find_app("", {}, value, cache)
    assert contents(app) == FILES
    (app / "mark").touch()
    assert (source.find_app("", {}, value, cache) / "mark").exists()


def test_links_inside_of_an_archive_stay_links(cache, tmp_path):
    value = archive(
        tmp_path / "shop",
        ("a/one", "1"),
        ("a/hard", {"type": tarfile.LNKTYPE, "linkname": "a/one"}),
        ("two", {"type": tarfile.SYMTYPE, "linkname": "a/one"}),
    )
    app = source.find_app("", {}, value, cache)
    assert contents(app) == {"a/one": "1", "a/hard": "1", "two": "1"}
    assert (app / "two").is_symlink()


def test_another_checksum_is_refused_with_both(cache, tmp_path):
    value = archive(tmp_path / "shop", *FILES.items())
    expected = "0" * 64
    message = refusal(source.find_app, "", {}, value | {"sha256": expected}, cache)
    assert f"aroundtheworld_app_archive.sha256: {expected} is expected" in message
    assert f"{value['path']} has {value['sha256']}" in message
    assert [path for path in (cache / "trees").glob("*") if path.is_dir()] == []


def test_a_file_that_was_replaced_is_refused_although_its_former_content_is_known(cache, tmp_path):
    value = archive(tmp_path / "shop", *FILES.items())
    source.find_app("", {}, value, cache)
    archive(tmp_path / "shop", ("app/other", ""))
    assert "it is not the archive" in refusal(source.find_app, "", {}, value, cache)


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64, None])
def test_what_is_no_checksum_is_refused(cache, tmp_path, sha256):
    value = archive(tmp_path / "shop", *FILES.items()) | {"sha256": sha256}
    message = refusal(source.find_app, "", {}, value, cache)
    assert f"aroundtheworld_app_archive.sha256: {sha256!r} is not allowed" in message


def test_an_archive_that_is_not_there_is_refused(cache, tmp_path):
    value = {"path": str(tmp_path / "shop"), "sha256": "0" * 64}
    message = refusal(source.find_app, "", {}, value, cache)
    assert "shop' cannot be read on the controller: No such file" in message
    assert "aroundtheworld_app_archive.path: is missing" in refusal(
        source.find_app, "", {}, {"sha256": "0" * 64}, cache
    )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x1f\x8b\x08\x00garbage", b"x" * 2000])
def test_what_is_no_archive_is_refused(cache, tmp_path, content):
    (tmp_path / "shop").write_bytes(content)
    value = {"path": str(tmp_path / "shop"), "sha256": hashlib.sha256(content).hexdigest()}
    assert "it is no whole tar file" in refusal(source.find_app, "", {}, value, cache)


def test_an_archive_that_was_cut_off_is_refused(cache, tmp_path):
    archive(tmp_path / "shop", ("app/noise", "".join(map(str, range(100000)))))
    content = (tmp_path / "shop").read_bytes()[:-1000]
    (tmp_path / "shop").write_bytes(content)
    value = {"path": str(tmp_path / "shop"), "sha256": hashlib.sha256(content).hexdigest()}
    assert "it is no whole tar file" in refusal(source.find_app, "", {}, value, cache)


OUT = {"type": tarfile.SYMTYPE, "linkname": "../../.."}


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([("../out", "")], id="parent"),
        pytest.param([("a/../../../out", "")], id="parent within"),
        pytest.param([("/out", "")], id="absolute"),
        pytest.param([("out", OUT)], id="link"),
        pytest.param([("out", {**OUT, "linkname": "/etc/passwd"})], id="absolute link"),
        pytest.param([("a", {**OUT, "linkname": "b"}), ("b", {**OUT, "linkname": "a"})], id="ring"),
        pytest.param([("device", {"type": tarfile.CHRTYPE})], id="device"),
        pytest.param([("pipe", {"type": tarfile.FIFOTYPE})], id="pipe"),
        pytest.param([("hard", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})], id="hard"),
        pytest.param(
            [("d/e", {**OUT, "linkname": "."}), ("f", {**OUT, "linkname": "d/e/../.."})], id="chain"
        ),
        pytest.param([("link", OUT), ("link/out", "written")], id="write through a link"),
        pytest.param([("file", "text"), ("file/below", "text")], id="file as a directory"),
    ],
)
def test_what_would_leave_the_directory_is_refused(cache, tmp_path, members):
    value = archive(tmp_path / "shop", *members)
    message = refusal(source.find_app, "", {}, value, cache)
    assert message.startswith(
        f"aroundtheworld_app_archive.path: {value['path']} cannot be used: it "
    )
    left = {path.name for path in tmp_path.rglob("*")}
    assert left <= {"shop", "cache", "trees", f".{value['sha256']}.lock"}


def test_an_address_is_fetched_once(cache, tmp_path, httpd):
    value = archive(tmp_path / "shop.tar.gz", *FILES.items())
    value["path"] = f"{httpd.url}/shop.tar.gz"
    assert contents(source.find_app("", {}, value, cache)) == FILES
    assert contents(source.find_app("", {}, value, cache)) == FILES
    assert httpd.requests == ["/shop.tar.gz"]


def test_an_address_that_cannot_be_fetched_is_refused(cache, httpd):
    value = {"path": f"{httpd.url}/nothing", "sha256": "0" * 64}
    message = refusal(source.find_app, "", {}, value, cache)
    assert f"aroundtheworld_app_archive.path: {httpd.url}/nothing cannot be fetched" in message
    assert "404" in message


@pytest.fixture
def httpd(tmp_path):
    """Serves `tmp_path` and notes what was requested."""
    import functools
    import http.server
    import threading

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            self.server.requests.append(self.path) if self.path not in self.server.requests[
                -1:
            ] else None

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path))
    )
    server.requests = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
