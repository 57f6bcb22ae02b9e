"""A package's files are found where pip would look, and nothing of them runs."""

import io
import sys
import types
import urllib.error
import zipfile

import pytest

from aroundtheworld_controller.packages import index as index_room
from aroundtheworld_controller.packages.build_tools import BuildFailure
from aroundtheworld_controller.packages.index import Indexes, IndexFailure, indexes
from aroundtheworld_controller.packages.source_archives import fetch, unpack_source
from tests.role.packages import source_archive

DIGEST = "0" * 64
HTML = f"""<!DOCTYPE html><html><body>
<a href="../../files/tiny-1.0.tar.gz#sha256={DIGEST}">tiny-1.0.tar.gz</a>
<a name="x">no link</a> <a href="https://files/tiny-1.0-py3-none-any.whl?a=b"
 data-requires-python="&gt;=3.9">a wheel</a>
"""
JSON = f"""{{"files": [
  {{"filename": "tiny-1.0.zip", "url": "/f/1", "hashes": {{"sha256": "{DIGEST}"}},
   "requires-python": ">=3.12"}}]}}"""


@pytest.fixture
def web(monkeypatch):
    """Pages by their addresses; each address that is asked for is kept."""
    web = types.SimpleNamespace(pages={}, asked=[])

    def open_url(address, **options):
        web.asked.append((address, options))
        if address not in web.pages:
            raise urllib.error.HTTPError(address, 404, "gone", {}, io.BytesIO())
        kind, content = web.pages[address]
        if isinstance(content, Exception):
            raise content
        response = io.BytesIO(content.encode())
        response.headers, response.geturl = {"Content-Type": kind}, lambda: address
        return response

    monkeypatch.setattr(index_room.urls, "open_url", open_url)
    return web


def test_links_of_a_page_are_files_with_hashes(web):
    web.pages["https://index/simple/tiny-app/"] = ("text/html; charset=utf-8", HTML)
    archive, wheel = Indexes(["https://index/simple"]).files("Tiny.App")
    assert (archive.name, archive.address) == (
        "tiny-1.0.tar.gz",
        "https://index/files/tiny-1.0.tar.gz",
    )
    assert archive.hashes == {f"sha256:{DIGEST}"}
    assert wheel.name == "tiny-1.0-py3-none-any.whl"
    assert wheel.hashes == set()
    assert (archive.python, wheel.python) == ("", ">=3.9")


def test_a_page_of_json_is_read(web):
    web.pages["https://index/simple/tiny/"] = (f"{index_room.JSON}; charset=utf-8", JSON)
    (file,) = Indexes(["https://index/simple/"]).files("tiny")
    assert (file.name, file.address) == ("tiny-1.0.zip", "https://index/f/1")
    assert file.hashes == {f"sha256:{DIGEST}"}
    assert file.python == ">=3.12"
    web.pages["https://index/simple/tiny/"] = (index_room.JSON, '{"files": 1}')
    with pytest.raises(IndexFailure, match="no JSON"):
        list(Indexes(["https://index/simple/"]).files("tiny"))


def test_a_password_goes_to_its_own_index_and_into_no_message(web):
    page = HTML.replace("https://files/", "https://elsewhere/")
    web.pages["https://ada:lovelace@index/simple/tiny/"] = ("text/html", page)
    there = Indexes(["https://ada:lovelace@index/simple"])
    assert [file.address.partition("//")[2].split("/")[0] for file in there.files("tiny")] == [
        "ada:lovelace@index",
        "elsewhere",
    ]
    web.pages["https://ada:lovelace@index/simple/tiny/"] = ("", OSError("lovelace is wrong"))
    with pytest.raises(IndexFailure) as failed:
        list(there.files("tiny"))
    assert str(failed.value) == "https://index/simple/tiny/ cannot be read: … is wrong"


def test_a_package_that_an_index_does_not_have_is_none(web):
    assert list(Indexes(["https://index/simple"]).files("tiny")) == []
    error = urllib.error.HTTPError("https://index", 401, "no", {}, io.BytesIO())
    web.pages["https://index/simple/tiny/"] = ("", error)
    with pytest.raises(IndexFailure, match="answers 401"):
        list(Indexes(["https://index/simple"]).files("tiny"))


def test_a_directory_is_an_index_and_holds_files(tmp_path):
    page = tmp_path / "simple" / "tiny" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text('<a href="tiny-1.0.tar.gz">tiny</a>')
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "tiny-2.0.tar.gz").touch()
    there = Indexes([(tmp_path / "simple").as_uri()], [str(tmp_path / "links")])
    assert [file.name for file in there.files("tiny")] == ["tiny-1.0.tar.gz", "tiny-2.0.tar.gz"]
    assert [file.name for file in there.files("other")] == ["tiny-2.0.tar.gz"]


def test_pips_own_settings_say_where(monkeypatch):
    printed = """\
:env:.index-url='https://env/simple'
download.find-links='/links'
global.cert='/ca.pem'
global.extra-index-url='https://a/simple https://b/simple'
global.find-links='/other'
global.index-url='https://global/simple'
global.trusted-host='a:8080'
WARNING: something
"""
    done = types.SimpleNamespace(stdout=printed)
    monkeypatch.setattr(index_room, "run_pip", lambda *_: done)
    there = indexes(["pip"])
    assert there.roots == ("https://env/simple", "https://a/simple", "https://b/simple")
    assert (there.links, there.options) == (["/links"], {"ca_path": "/ca.pem"})
    assert there.trusted == ["a"]
    done.stdout = "global.no-index='true'\n"
    assert indexes(["pip"]).roots == ()
    done.stdout = ""
    options = ["--index-url", "https://lock/simple", "--extra-index-url", "https://more/simple"]
    assert indexes(["pip"], options).roots == ("https://lock/simple", "https://more/simple")
    there = indexes(["pip"], [*options, "--no-index", "", "--trusted-host", "lock:8080"])
    assert (there.roots, there.trusted) == ((), ["lock"])


def test_pip_itself_prints_its_settings_in_that_form(monkeypatch, tmp_path):
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://file/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_FIND_LINKS", "/one /two")
    there = indexes([sys.executable, "-m", "pip"])
    assert there.roots[0] == "https://file/simple"
    assert there.links == ["/one", "/two"]


FILES = {"setup.py": "raise SystemExit('it ran')", "data/x.txt": "x"}


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_a_source_archive_is_fetched_by_the_locks_hash_and_unpacked(tmp_path, kind):
    for name in ("links", "into", "unpacked"):
        (tmp_path / name).mkdir()
    digest = source_archive(tmp_path / "links" / f"tiny_app-1.0.0.{kind}", FILES)
    source_archive(tmp_path / "links" / f"tiny_app-2.0.{kind}", FILES)
    there = Indexes([], [str(tmp_path / "links")])
    archive = fetch(there, "tiny-app", "1.0", ["sha256:" + "1" * 64, digest], tmp_path / "into")
    top = unpack_source(archive, tmp_path / "unpacked")
    assert (top / "data" / "x.txt").read_text() == "x"
    assert (top / "setup.py").read_text() == FILES["setup.py"]


def test_other_content_than_the_lock_has_is_refused(tmp_path):
    source_archive(tmp_path / "tiny-1.0.tar.gz", FILES)
    (tmp_path / "into").mkdir()
    there = Indexes([], [str(tmp_path)])
    with pytest.raises(BuildFailure, match=r"no hash of its source archive \(tiny-1\.0\.tar\.gz\)"):
        fetch(there, "tiny", "1.0", [f"sha256:{DIGEST}"], tmp_path / "into")
    with pytest.raises(BuildFailure, match=r"there is no source archive of version 1\.1 where pip"):
        fetch(there, "tiny", "1.1", [f"sha256:{DIGEST}"], tmp_path / "into")


def test_a_file_that_an_index_names_and_does_not_have_is_a_sentence(web, tmp_path):
    web.pages["https://index/simple/tiny/"] = ("text/html", HTML)
    with pytest.raises(BuildFailure) as failed:
        fetch(Indexes(["https://index/simple"]), "tiny", "1.0", [f"sha256:{DIGEST}"], tmp_path)
    assert str(failed.value) == (
        "its source archive cannot be fetched: https://index/files/tiny-1.0.tar.gz is not there"
    )
    (tmp_path / "simple" / "tiny").mkdir(parents=True)
    assert list(Indexes([(tmp_path / "simple").as_uri()]).files("tiny")) == []


def test_what_an_index_calls_other_content_is_not_fetched(web, tmp_path):
    web.pages["https://index/simple/tiny/"] = ("text/html", HTML)
    with pytest.raises(BuildFailure, match="the lock has no hash of its source archive"):
        fetch(Indexes(["https://index/simple"]), "tiny", "1.0", ["sha256:" + "1" * 64], tmp_path)
    assert [address for address, _ in web.asked] == ["https://index/simple/tiny/"]


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/outside"])
def test_an_archive_that_leads_out_of_itself_is_refused(tmp_path, name):
    path = tmp_path / "tiny-1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "x")
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(BuildFailure, match="leads out of it"):
        unpack_source(path, tmp_path / "unpacked")
