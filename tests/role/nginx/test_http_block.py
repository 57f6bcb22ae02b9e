"""Whatever the host's http block sets for all servers, the site keeps its promises."""

import time

import pytest

from tests.role.nginx.process import needs_nginx

pytestmark = needs_nginx

# What an http block may set for all of its servers, each against a promise.
HOSTILE = """
    merge_slashes off; underscores_in_headers on; ignore_invalid_headers off;
    proxy_buffering off; proxy_request_buffering off; proxy_intercept_errors on;
    proxy_http_version 1.0; proxy_read_timeout 1s; proxy_send_timeout 1s;
    proxy_next_upstream error timeout http_500 non_idempotent;
    proxy_redirect http://app.example/ http://evil.example/; proxy_cookie_path / /evil;
    proxy_cookie_domain app.example evil.example; proxy_cookie_flags ~ secure;
    proxy_hide_header X-Own; proxy_ignore_headers X-Accel-Redirect; proxy_set_header X-Evil 1;
    proxy_pass_request_headers off; proxy_pass_request_body off; proxy_buffer_size 1k;
    proxy_buffers 2 1k; proxy_busy_buffers_size 1k; proxy_store on; proxy_force_ranges on;
    error_page 404 500 503 =200 /evil; recursive_error_pages on; expires 1y; ssi on; etag off;
    charset koi8-r; override_charset on; if_modified_since off; disable_symlinks on;
    open_file_cache max=100 inactive=60s; open_file_cache_valid 60s; open_file_cache_errors on;
    limit_rate 100; client_max_body_size 1; client_body_in_file_only on; default_type evil/evil;
    chunked_transfer_encoding off; limit_conn_dry_run on; limit_conn_status 418; mirror /evil;
    client_body_timeout 1s; keepalive_timeout 0; gzip_types *; server_tokens on; root /etc;
    large_client_header_buffers 1 1k; proxy_headers_hash_bucket_size 64; index evil; autoindex on;
"""


@pytest.fixture
def hostile(make_site):
    neighbour = "server {{ listen {port}; server_name blog.example; }}"
    return make_site(http=HOSTILE, neighbour=neighbour, admin={"max_in_flight": 1})


def test_an_apps_answers_reach_its_visitors_as_they_are(hostile):
    status, headers, text = hostile.fetch("/busy")
    assert (status, headers["X-Own"], text) == (503, "kept", "the app's own")
    assert hostile.fetch("/nowhere")[::2] == (404, "the app's own 404")
    assert hostile.fetch("/moved")[1]["Location"] == "http://app.example/x"
    assert hostile.fetch("/cookie")[1]["Set-Cookie"] == "a=b; Path=/; Domain=app.example"
    assert hostile.fetch("/ssi")[2] == '<!--#echo var="uri" -->'
    assert hostile.fetch("/wide")[2] == "wide"
    headers = hostile.fetch("/")[1]
    assert (headers["Expires"], headers["Cache-Control"]) == (None, None)
    assert headers["Server"] != "nginx" or "/" not in headers["Server"]


def test_a_request_reaches_one_worker_once_and_whole(hostile):
    body = "x" * 30000
    request = hostile.received("//admin//x", "POST", headers=[("X-Own", "1")], body=body)
    assert (request["pool"], request["path"], request["body"]) == ("admin", "/admin/x", body)
    headers = dict(request["headers"])
    assert headers["x-own"] == "1"
    assert "x-evil" not in headers
    assert [len(worker.requests) for worker in hostile.workers.values()] == [0, 1]


def test_a_long_answer_is_not_slow(hostile):
    began = time.monotonic()
    for _ in range(20):
        hostile.received("/")
    assert time.monotonic() - began < 30  # with limit_rate, it would be 80


def test_closing_and_opening_are_seen_at_once(hostile):
    page = hostile.home / "maintenance.html"
    for _ in range(2):
        assert hostile.fetch("/")[0] == 200
        page.write_text("closed")
        assert hostile.fetch("/")[::2] == (503, "closed")
        page.unlink()
    assert hostile.fetch("/")[0] == 200


def test_a_busy_pool_has_its_own_page(hostile):
    with hostile.occupied("admin", "/admin/slow"):
        time.sleep(1.2)  # longer than what the http block would wait for a worker
        status, headers, text = hostile.fetch("/admin/x")
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "busy" in text


def test_the_sites_own_files_are_served_with_their_own_settings(hostile):
    status, headers, text = hostile.fetch("/static/a.css")
    assert (status, text) == (200, "body {}")
    assert headers["ETag"]
    assert headers["Expires"] is None
    assert headers["Cache-Control"] == "public, no-cache"
    assert hostile.fetch("/static/a.css", headers=[("If-None-Match", headers["ETag"])])[0] == 304
