from __future__ import annotations

import dataclasses
import errno
import io
import os
import struct
import subprocess
import time
import zlib
from random import Random

import pytest
import sqlalchemy as sa
from PIL import Image
from tornado.log import access_log, app_log
from tornado.testing import ExpectLog

from aroundtheworld import photos as files
from aroundtheworld.config import Config
from aroundtheworld.db import photos

PARIS = 2988507


def picture(width=1600, height=900, kind="JPEG", mode="RGB", **options):
    """A file with a picture that is red on its left and blue on its right."""
    image = Image.new(mode, (width, height), "red")
    image.paste(Image.new(mode, (width // 2, height), "blue"), (width - width // 2, 0))
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def opened(content):
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def png_that_says(width, height):
    """A tiny PNG whose header announces any size."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


@pytest.mark.parametrize("kind", files.FORMATS)
def test_a_photo_is_made_in_every_size(kind):
    photo = files.read(picture(kind=kind))
    assert (photo.width, photo.height) == (1280, 720)
    assert set(photo.files) == {*files.SIZES, files.SOURCE}
    sizes = {size: opened(content).size for size, content in photo.files.items()}
    assert sizes == {320: (320, 180), 640: (640, 360), 1280: (1280, 720), "source": (1600, 900)}
    assert {opened(content).format for content in photo.files.values()} == {"JPEG"}


def test_a_small_photo_is_not_made_larger():
    photo = files.read(picture(400, 300))
    assert (photo.width, photo.height) == (400, 300)
    assert opened(photo.files[1280]).size == (400, 300)


def test_a_photo_is_turned_upright_and_what_it_carries_is_dropped():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    exif[0x010F] = "Camera of Eve"
    exif.get_ifd(0x8825)[1] = "N"
    content = picture(exif=exif, comment=b"Eve was here", icc_profile=b"profile of Eve")
    assert b"Eve" in content
    photo = files.read(content)
    assert (photo.width, photo.height) == (720, 1280)
    for made in photo.files.values():
        assert b"Eve" not in made
        assert not opened(made).getexif()
        assert set(opened(made).info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density",
                                          "progressive", "progression"}  # fmt: skip
    # Clockwise, what was left is above.
    image = opened(photo.files[320])
    assert image.getpixel((90, 20))[0] > 200
    assert image.getpixel((90, 300))[2] > 200


def test_what_one_can_see_through_becomes_white():
    image = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
    file = io.BytesIO()
    image.save(file, "PNG")
    assert opened(files.read(file.getvalue()).files[320]).getpixel((150, 150)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colour_models_become_red_green_blue(mode):
    file = io.BytesIO()
    Image.new(mode, (300, 300)).save(file, "JPEG")
    assert opened(files.read(file.getvalue()).files[320]).mode == "RGB"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"hello", "is no photo: JPEG, PNG, WEBP are allowed"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no photo"),
        (b"GIF89a" + b"\0" * 100, "is no photo"),
        (picture()[:3000], "damaged, or was not sent to its end"),
        (picture(kind="PNG")[:400], "damaged"),
        (picture(199, 900), "has 199 by 900 pixels; at least 200"),
        (png_that_says(8000, 5001), "has 8,000 by 5,001 pixels; 40 million are allowed"),
        (png_that_says(10_000, 10_000), "too many pixels"),
        (png_that_says(60_000, 60_000), "too many pixels"),
        (b"\0" * (12 * 2**20 + 1), "has 12.0 MiB; 12 are allowed"),
    ],
)
def test_what_is_no_photo_is_refused_with_a_sentence(content, sentence):
    with pytest.raises(files.PhotoRefused, match=sentence):
        files.read(content)


@pytest.mark.parametrize("kind", files.FORMATS)
def test_a_damaged_file_is_refused_or_read_and_never_anything_else(kind):
    good, rng = picture(240, 200, kind=kind), Random(1)
    refused = 0
    for _ in range(60):
        damaged = bytearray(good)
        for _ in range(rng.randrange(1, 30)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            files.read(bytes(damaged[: rng.randrange(1, len(damaged) + 1)]))
        except files.PhotoRefused:
            refused += 1
    assert refused > 20


@pytest.fixture
def directory(site, tmp_path):
    """Where the site keeps its photos."""
    site.app.config = dataclasses.replace(site.app.config, uploads=tmp_path / "uploads")
    return tmp_path / "uploads" / "photos"


def send(browser, content=None, **fields):
    fields = {"city": str(PARIS), "caption": "The Seine at night", "credit": "Eve"} | fields
    browser.get("/login")
    body = b"".join(
        f'--limit\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in {**fields, "_xsrf": browser.cookies["_xsrf"]}.items()
    )
    if content is not None:
        body += (
            b'--limit\r\nContent-Disposition: form-data; name="file";'
            b' filename="../../../etc/passwd.jpg"\r\n\r\n' + content + b"\r\n"
        )
    headers = {"Content-Type": "multipart/form-data; boundary=limit"}
    return browser.request("POST", "/admin/photos", body + b"--limit--\r\n", headers)


def tokens(site):
    return site.app.database.read(photos.tokens)


def test_a_photo_is_uploaded_shown_and_deleted(site, admin, browser, directory):
    assert "/photos/" not in browser.page(f"/cities/{PARIS}")
    assert send(admin, picture()).headers["Location"] == "/admin/photos?done=added"
    ((photo_id, token),) = tokens(site)
    assert len(list(directory.iterdir())) == 4
    page = browser.page(f"/cities/{PARIS}")
    assert "The Seine at night. Photo: Eve" in page
    assert 'width="1280" height="720"' in page
    for size in files.SIZES:
        response = browser.get(f"/photos/{token}-{size}.jpg")
        assert response.headers["Content-Type"] == "image/jpeg"
        assert response.headers["Cache-Control"] == "public, max-age=86400"
        assert opened(response.body).size[0] == size
    assert "The Seine" in admin.page("/admin/photos?done=added")
    assert admin.post(f"/admin/photos/{photo_id}/delete").code == 303
    assert list(directory.iterdir()) == []
    assert "/photos/" not in browser.page(f"/cities/{PARIS}")


def test_only_finished_files_are_served(site, admin, browser, directory):
    send(admin, picture())
    ((_, token),) = tokens(site)
    (directory / f"{token}-320.7.part").write_bytes(b"unfinished")
    (directory.parent / "secret.jpg").write_bytes(b"secret")
    for name in (
        f"{token}-source.jpg", f"{token}-320.7.part", f"{token}-321.jpg", "../secret.jpg",
        "%2e%2e/secret.jpg", "..%2fsecret.jpg", f"{'0' * 32}-320.jpg", "", f"{token}-320.jpg/",
        f"{token}-320.jpg%00", f"{token.upper()}x-320.jpg",
    ):  # fmt: skip
        response = browser.get("/photos/" + name)
        assert response.code == 404, name
        assert b"secret" not in response.body
        assert b"unfinished" not in response.body


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"city": "99"}, "There is no such city"),
        ({"city": "x"}, "There is no such city"),
        ({"city": "1" * 900}, "There is no such city"),
        ({"caption": " "}, "The caption must have 1 to 200 characters"),
        ({"caption": "x" * 201}, "The caption must have"),
        ({"credit": "x" * 101}, "The credit must have 1 to 100"),
    ],
)
def test_a_bad_field_is_named(site, admin, directory, fields, sentence):
    with ExpectLog(access_log, "400"):
        response = send(admin, picture(300, 300), **fields)
    assert response.code == 400
    assert sentence in response.body.decode()
    assert tokens(site) == []
    assert not directory.exists()


@pytest.mark.parametrize("content", [None, b"", b"no photo", picture()[:900]])
def test_a_bad_file_is_refused_and_leaves_nothing(site, admin, directory, content):
    with ExpectLog(access_log, "400"):
        response = send(admin, content)
    assert response.code == 400
    assert b"Nothing was added" in response.body
    assert tokens(site) == []
    assert not directory.exists()


@pytest.mark.parametrize("fails_at", range(4))
def test_a_full_disk_leaves_nothing_and_says_so(site, admin, directory, monkeypatch, fails_at):
    calls, fsync = [], os.fsync

    def full(number):
        calls.append(number)
        if len(calls) > fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(number)

    monkeypatch.setattr(files.os, "fsync", full)
    with ExpectLog(app_log, ".*No space left"), ExpectLog(access_log, "507"):
        response = send(admin, picture(300, 300))
    assert response.code == 507
    assert b"disk is full" in response.body
    assert tokens(site) == []
    assert list(directory.iterdir()) == []


@pytest.fixture
def mount(directory):
    """Makes a file system of a size of its own where the photos are kept, or changes its size."""
    where = directory.parent

    def mount(options):
        where.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", where]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"needs the right to mount: {done.stderr.strip()}")

    yield mount
    subprocess.run(["umount", where], capture_output=True)


@pytest.mark.parametrize("size", ["16k", "400k"])
def test_a_disk_that_really_is_full_loses_nothing_and_goes_on(site, admin, directory, mount, size):
    mount(f"size={size}")
    image = Image.effect_noise((900, 700), 90).convert("RGB")
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    assert len(file.getvalue()) > 400 * 1024, "else it may fit"
    with ExpectLog(app_log, ".*No space left"), ExpectLog(access_log, "507"):
        response = send(admin, file.getvalue())
    assert response.code == 507
    assert b"disk is full" in response.body
    assert b"Traceback" not in response.body
    assert tokens(site) == []
    assert [path for path in directory.rglob("*") if path.is_file()] == []
    mount("remount,size=20m")
    assert send(admin, file.getvalue()).code == 303
    assert len(tokens(site)) == 1
    assert len(list(directory.iterdir())) == 4


def test_a_database_that_fails_leaves_no_files(site, admin, directory, monkeypatch):
    def fail(*_):
        raise sa.exc.OperationalError("INSERT", {}, Exception("database is locked"))

    monkeypatch.setattr("aroundtheworld.handlers.admin_photos.photos.add", fail)
    with ExpectLog(app_log, ".*database is locked"), ExpectLog(access_log, "503"):
        assert send(admin, picture(300, 300)).code == 503
    assert list(directory.iterdir()) == []


def test_all_thumbnails_are_made_again(site, admin, directory):
    for _ in range(2):
        send(admin, picture(500, 400))
    (_, first), (second_id, second) = tokens(site)
    source = (directory / f"{first}-source.jpg").read_bytes()
    (directory / f"{first}-320.jpg").write_bytes(b"damaged")
    (directory / f"{second}-source.jpg").write_bytes(b"damaged")
    long_ago = time.time() - 7200
    leftovers = [directory / f"{'0' * 32}-320.jpg", directory / f"{first}-320.9.part"]
    young = directory / f"{'1' * 32}-320.jpg"
    for path in (*leftovers, young):
        path.write_bytes(b"left")
    for path in leftovers:
        os.utime(path, (long_ago, long_ago))
    page = admin.post("/admin/photos/remake").body.decode()
    assert "Those of 1 photo were made again" in page
    assert f"left as they are: {second_id}." in page
    assert opened((directory / f"{first}-320.jpg").read_bytes()).size == (320, 256)
    assert (directory / f"{first}-source.jpg").read_bytes() == source
    assert (directory / f"{second}-320.jpg").exists()
    assert not any(path.exists() for path in leftovers)
    assert young.exists()


def test_a_file_that_was_replaced_is_sent_anew(site, admin, browser, directory):
    send(admin, picture(500, 400))
    ((_, token),) = tokens(site)
    path = directory / f"{token}-320.jpg"
    os.utime(path, (1_000_000, 1_000_000))
    first = browser.get(f"/photos/{path.name}")
    since = {"If-Modified-Since": first.headers["Last-Modified"]}
    assert browser.get(f"/photos/{path.name}", **since).code == 304
    files.replace(directory, token, files.read(picture(400, 500)))
    again = browser.get(f"/photos/{path.name}", **since)
    assert again.code == 200
    assert again.body != first.body


def test_where_there_is_no_place_for_photos_there_are_none(site, admin, browser):
    site.app.config = dataclasses.replace(site.app.config, database_url="postgresql://host/game")
    for visitor, path in ((admin, "/admin/photos"), (browser, f"/photos/{'0' * 32}-320.jpg")):
        assert visitor.get(path).code == 404
    assert browser.get(f"/cities/{PARIS}").code == 200


def test_photos_are_kept_beside_the_database_or_where_the_environment_says(tmp_path):
    def directory(**environ):
        variables = {"COOKIE_SECRET": "x" * 32, **environ}
        return Config.from_environment(variables).photos

    beside = directory(DATABASE_URL=f"sqlite:///{tmp_path}/game.db")
    assert beside == tmp_path / "uploads" / "photos"
    assert directory(DATABASE_URL="postgresql://host/game") is None
    assert directory(DATABASE_URL="sqlite://") is None
    there = directory(DATABASE_URL="postgresql://host/game", UPLOADS="/srv/up")
    assert str(there) == "/srv/up/photos"
