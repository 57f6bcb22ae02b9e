"""Files in `shared/` that nginx serves, and all others that it does not."""

import pytest

from tests.role.nginx.process import needs_nginx
from tests.role.nginx.served import SPECIAL, Site
from tests.spellings import CLIMBS

pytestmark = needs_nginx

SECRET = "48151623"
PAGE = "<script>document.title = document.cookie</script>"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site with uploads for everybody, for the admin side, and for whom the app says."""
    root = tmp_path_factory.mktemp("media")
    shared = root / "home/shared"
    for name, text in {
        "uploads/a.jpg": "photo", "uploads/page.html": PAGE, "uploads/drawing.svg": PAGE,
        "uploads/more/b.jpg": "another", "invoices/1.pdf": "invoice", "scans/c.jpg": "scan",
        "shop.db": SECRET, "uploads.key": SECRET,
    }.items():  # fmt: skip
        (shared / name).parent.mkdir(parents=True, exist_ok=True)
        (shared / name).write_text(text)
    for name, target in {
        "link": "../shop.db", "absolute": "/etc/passwd", "up": "..", "same": "more/b.jpg",
        "directory": "more",
    }.items():  # fmt: skip
        (shared / "uploads" / name).symlink_to(target)
    media = [
        {"url": "/uploads/", "directory": "uploads"},
        {"url": "/files/invoices/", "directory": "invoices/", "internal": True},
        {"url": "/admin/scans/", "directory": "scans"},
    ]
    made = Site(
        root,
        "autoindex on; disable_symlinks off;",
        variables={"aroundtheworld_media": media},
        admin={"allow": ["127.0.0.1"]},
    )
    yield made
    made.stop()


def test_a_file_is_served_and_a_part_of_it_too(site):
    status, headers, text = site.fetch("/uploads/a.jpg")
    assert (status, text) == (200, "photo")
    assert site.fetch("/uploads/more/b.jpg")[::2] == (200, "another")
    assert site.fetch("/uploads/a.jpg", headers=[("Range", "bytes=1-2")])[::2] == (206, "ho")
    status, headers, _ = site.fetch("/uploads/a.jpg", headers=[("If-None-Match", headers["ETag"])])
    assert status == 304


@pytest.mark.parametrize("name", ["page.html", "drawing.svg"])
def test_a_browser_runs_no_program_from_it(site, name):
    status, headers, text = site.fetch(f"/uploads/{name}")
    assert (status, text) == (200, PAGE)
    policies = " ".join(headers.get_all("Content-Security-Policy"))
    for directive in ("script-src", "object-src", "form-action"):
        assert f"{directive} 'none'" in policies
    assert "nosniff" in headers.get_all("X-Content-Type-Options")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/uploads/", 403),
        ("/uploads/more/", 403),
        ("/uploads/missing.jpg", 404),
        *((f"/uploads/{link}", 403) for link in ("link", "absolute", "same")),
        ("/uploads/directory/b.jpg", 404),
        ("/uploads/up/shop.db", 404),
        ("/uploads/up/uploads/a.jpg", 404),
        ("/files/invoices/1.pdf", 404),
    ],
)
def test_nothing_else_is_served(site, path, status):
    found, _, text = site.fetch(path)
    assert found == status
    assert "Index of" not in text
    assert site.fetch("/uploads/a.jpg", "POST", body="x")[0] == 405


def test_no_path_climbs_out(site):
    found = {}
    for climb in CLIMBS:
        for prefix in ("/uploads/", "/uploads", "/uploads/more/", "/admin/scans/"):
            for target in ("shop.db", "shared/shop.db", ".key", "invoices/1.pdf"):
                try:
                    _, _, text = site.fetch(f"{prefix}{climb}{target}")
                except (OSError, ValueError):
                    continue
                if SECRET in text or text == "invoice":
                    found[prefix + climb + target] = text
    assert found == {}


def test_the_app_decides_who_gets_an_internal_file(site, monkeypatch):
    answer = {"X-Accel-Redirect": "/files/invoices/1.pdf", "Content-Disposition": "attachment"}
    monkeypatch.setitem(SPECIAL, "/my-invoice", (200, answer, ""))
    status, headers, text = site.fetch("/my-invoice")
    assert (status, text) == (200, "invoice")
    assert headers["Content-Disposition"] == "attachment"
    monkeypatch.setitem(SPECIAL, "/other", (200, {"X-Accel-Redirect": "/files/shop.db"}, ""))
    assert SECRET not in site.fetch("/other")[2]


def test_they_are_closed_with_their_pool_and_for_its_strangers(site):
    assert site.fetch("/admin/scans/c.jpg")[::2] == (200, "scan")
    assert site.fetch("/admin/scans/c.jpg", source="127.0.0.2")[0] == 403
    (site.home / "maintenance.html").write_text("closed")
    try:
        assert site.fetch("/uploads/a.jpg")[0] == 503
        assert site.fetch("/admin/scans/c.jpg")[0] == 200
    finally:
        (site.home / "maintenance.html").unlink()
