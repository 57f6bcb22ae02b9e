"""What each line of the site in nginx promises: a sentence and its directives, in a table."""

import json
import re

import pytest

from aroundtheworld_controller.nginx.visitor_headers import CLEARED, OF_A_BODY, SET, spellings
from tests.render import ADMIN, MODELS, PUBLIC, render, variables_for
from tests.role.rendered import parse_nginx, site_of
from tests.role_files import load_yaml

HOME = "/var/lib/tornado/aroundtheworld"
# A site that has every kind of block.
EVERYTHING = {
    "aroundtheworld_trusted_proxies": ["192.0.2.10", "2001:db8::/32"],
    "aroundtheworld_headers": {"Cross-Origin-Opener-Policy": "same-origin"},
    "aroundtheworld_metrics_port": 9145,
    "aroundtheworld_maintenance_retry_after": 90,
    "aroundtheworld_header_timeout": 20,
    "aroundtheworld_maintenance_allow": ["192.0.2.0/24"],
    "aroundtheworld_passwords": {"ada": "secret"},
    "aroundtheworld_max_body_size": "3m",
    "aroundtheworld_server_names": ["shop.example", "www.shop.example"],
    "aroundtheworld_pools": [
        {**PUBLIC, "max_in_flight": 7, "max_body_size": "1g", "client_timeout": 5},
        {
            **ADMIN,
            "max_in_flight": 9,
            "rate": "30/m",
            "burst": 3,
            "allow": ["192.0.2.0/24", "2001:db8::/32"],
        },
        {
            "name": "shop",
            "ports": [10005],
            "paths": ["/shop"],
            "command": "gunicorn shop",
            "basic_auth": ["ada"],
            "compress": True,
        },
    ],
    "aroundtheworld_static": [
        {"url": "/static/", "directory": "aroundtheworld/static"},
        {"url": "/admin/files/", "directory": "aroundtheworld/files"},
    ],
    "aroundtheworld_media": [
        {"url": "/admin/uploads/", "directory": "uploads"},
        {"url": "/invoices/", "directory": "invoices", "internal": True},
    ],
}

# A response has each of them once, wherever it comes from.
HEADERS = {
    f"a response has the header {name}": (f"add_header {name} $w10001_header_{number} always;")
    for number, name in enumerate(
        [
            *("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Permissions-Policy"),
            "Cross-Origin-Opener-Policy",
        ],
        1,
    )
}

SERVER = {
    "it listens on all addresses of the host": "listen 80; listen [::]:80;",
    "it answers to the operator's names": "server_name shop.example www.shop.example;",
    "its responses do not have nginx's version": "server_tokens off;",
    "a body is as large as the operator allows": "client_max_body_size 3m;",
    "its logs are its own": """
        access_log /var/log/nginx/aroundtheworld/access.log aroundtheworld;
        error_log /var/log/nginx/aroundtheworld/error.log;
    """,
    **HEADERS,
    "a closed site shows its page": "error_page 503 /.aroundtheworld/closed;",
    "files close it without a reload, but not for who has the secret link or is on the list": f"""
        set $w10001_closed open;
        if (-f {HOME}/maintenance.html) {{ set $w10001_closed switch; }}
        if (-d {HOME}/maintenance/$w10001_closed/closed) {{
            set $w10001_closed switch/closed;
        }}
        if (-f {HOME}/maintenance/keys/$w10001_key) {{ set $w10001_closed open; }}
        if ($w10001_let_in) {{ set $w10001_closed open; }}
    """,
    "a busy pool and a visitor's rate have pages of their own": """
        error_page 599 =503 @error_$w10001_error_format;
        limit_conn_status 599; limit_conn_dry_run off; limit_req_status 429; limit_req_dry_run off;
    """,
    "an error of nginx is a page of the site, or JSON": """
        error_page 401 403 404 405 412 413 429 500 502 504 @error_$w10001_error_format;
        error_page 400 414 421 501 505 /.aroundtheworld/error.$w10001_error_format;
        error_page 416 @range;
        error_page 495 496 497 =400 /.aroundtheworld/error.$w10001_error_format;
        error_page 494 =431 /.aroundtheworld/error.$w10001_error_format;
    """,
    # Requests.
    "a visitor who does not send a whole request is cut off": """
        client_header_timeout 20s; client_body_timeout 60s;
    """,
    "cookies of 16 kB get through": """
        client_header_buffer_size 1k; large_client_header_buffers 4 16k;
    """,
    "a header that nobody could read is dropped": """
        ignore_invalid_headers on; underscores_in_headers off;
    """,
    "// is / in a path": "merge_slashes on;",
    "a body arrives as it is, and stays in memory while it is small": """
        client_body_buffer_size 16k; client_body_in_file_only off;
        client_body_in_single_buffer off;
    """,
    # Responses.
    "a visitor who reads nothing is cut off after a minute": "send_timeout 60s;",
    "a visitor's connection is kept for the next request": """
        keepalive_timeout 65s; keepalive_requests 1000;
    """,
    "no connection keeps a former configuration for long": "keepalive_time 60s;",
    "the end of a response is not lost when the connection is closed": """
        lingering_close on; reset_timedout_connection off;
    """,
    "no response is slowed down": """
        limit_rate 0; limit_rate_after 0; sendfile on; tcp_nopush on; tcp_nodelay on;
    """,
    "a response without a length still comes": "chunked_transfer_encoding on;",
    "no type or charset is made up": "default_type text/html; charset off;",
    "a file that the visitor has is not sent again": "etag on; if_modified_since exact;",
    "browsers keep a response as long as the app allows": "expires off;",
    "a response is not compressed, so that its size does not tell what is in it": """
        gzip off; gzip_static off;
    """,
    "where one is compressed, it is text, and caches know it": """
        gzip_vary on; gzip_proxied any; gzip_http_version 1.1; gzip_comp_level 1;
        gzip_min_length 256;
        gzip_types text/css text/javascript text/plain application/javascript application/json
            image/svg+xml;
    """,
    "no command in a response is executed": "ssi off;",
    "no request is sent twice": "mirror off;",
    "a busy page does not become the page of a closed site": "recursive_error_pages off;",
    "the page of a closed site and a release's files are seen at once": """
        open_file_cache off; disable_symlinks off;
    """,
    "its log has the errors that matter": """
        log_not_found on; log_subrequest off; rewrite_log off;
    """,
    "trusted proxies say who the visitor is, over several of them, and nobody else": """
        set_real_ip_from 192.0.2.10/32; set_real_ip_from 2001:db8::/32;
        real_ip_header X-Forwarded-For; real_ip_recursive on;
    """,
    # The workers.
    "connections to workers can be kept": "proxy_http_version 1.1;",
    "a host whose workers are gone is not waited for": "proxy_connect_timeout 4s;",
    "a worker that takes nothing is given up after a minute": "proxy_send_timeout 60s;",
    "each worker of the pool may be tried": "proxy_next_upstream_tries 0;",
    "a slow client does not occupy a worker": """
        proxy_request_buffering on; proxy_buffering on; proxy_buffer_size 32k; proxy_buffers 8 8k;
        proxy_busy_buffers_size 32768; proxy_max_temp_file_size 1024m;
        proxy_temp_file_write_size 32768; proxy_limit_rate 0;
    """,
    "a worker gets all of a request": """
        proxy_pass_request_headers on; proxy_pass_request_body on;
    """,
    "a worker's own error page gets through": "proxy_intercept_errors off;",
    "a worker learns that its visitor has left": "proxy_ignore_client_abort off;",
    "redirects and cookies get through as they are": """
        proxy_redirect off; proxy_cookie_domain off; proxy_cookie_path off;
        proxy_cookie_flags off;
    """,
    "nginx keeps no response": "proxy_cache off; proxy_store off; proxy_force_ranges off;",
    "workers see the usual address as the client": "proxy_bind off; proxy_socket_keepalive off;",
    "a worker's X-Accel headers hold": "proxy_ignore_headers Vary;",
    "nothing says what a worker is made with": """
        proxy_hide_header X-Powered-By; proxy_hide_header X-Aroundtheworld-Release;
        proxy_pass_header X-Pad;
    """,
    "there is room for all these headers": """
        proxy_headers_hash_max_size 4096; proxy_headers_hash_bucket_size 128;
    """,
    "a worker gets the host name and port of the visitor's request": """
        proxy_set_header Host $host$w10001_port;
    """,
    "a worker does not get the cookie of the secret link": """
        proxy_set_header Cookie $w10001_cookies;
    """,
    "a worker gets the visitor's address from nginx, and not from the visitor": """
        proxy_set_header X-Real-IP $w10001_client;
        proxy_set_header X-Forwarded-For $w10001_client;
    """,
    "a worker gets the scheme from nginx, and not from the visitor": """
        proxy_set_header X-Forwarded-Proto $w10001_scheme;
    """,
    "a request has the same id in every log": "proxy_set_header X-Request-ID $request_id;",
    "a password for the app gets there": """
        set $w10001_authorization $http_authorization;
        proxy_set_header Authorization $w10001_authorization;
    """,
    "a WebSocket gets through, and no other upgrade": """
        proxy_set_header Upgrade $w10001_upgrade;
        proxy_set_header Connection $w10001_connection;
    """,
}


# What holds for the visitors of a pool, whether a worker or a file answers them.
VISITORS = {
    "public": {
        "a body is as large as the pool allows": "client_max_body_size 1g;",
        "a visitor may pause for so long": "client_body_timeout 5s; send_timeout 5s;",
    },
    "admin": {
        "a stranger gets nothing": "if ($w10001_stranger_10004) { return 403; }",
        "a visitor may pause for so long": "client_body_timeout 60s; send_timeout 60s;",
    },
    "shop": {
        "a visitor needs a password": """
            satisfy all; auth_basic "aroundtheworld shop";
            auth_basic_user_file /etc/aroundtheworld/passwords/shop;
        """,
        "the app does not learn it": 'set $w10001_authorization "";',
        "a visitor may pause for so long": "client_body_timeout 60s; send_timeout 60s;",
    },
}


def closing(pool, *, closes):
    """Return the promises of what maintenance closes; `closes` says whether it usually does."""
    promises = {
        "a file of its name closes it": (
            f"if (-f {HOME}/maintenance/$w10001_closed/{pool}) {{ return 503; }}"
        ),
    }
    if closes:
        usual = "if ($w10001_closed = switch) { return 503; }"
        promises["it closes with the public side"] = usual
    return promises


def to_a_pool(
    pool, upstream, path, places=0, read_timeout=30, *, replay=True, closes=True, rate="", again=1
):
    """Return the promises of a location whose requests a pool gets."""
    promises = {
        **VISITORS[pool],
        "the pool's workers get the path that nginx decided by": (
            f"proxy_pass http://{upstream}{path};"
        ),
        "a request has its pool's time": f"proxy_read_timeout {read_timeout}s;",
        "a request that may have been begun goes to no second worker where that is not wanted": (
            f"proxy_next_upstream {'error timeout' if replay else 'off'};"
        ),
        "who sends too many learns when to try again": (f"set $w10001_retry_after {again};"),
        "the log has the pool": f"set $w10001_pool {pool};",
    }
    if replay:
        promises["what blocks one worker does not go on to the next"] = (
            "proxy_next_upstream_timeout 5s;"
        )
    promises |= closing(pool, closes=closes)
    if places:
        promises[
            "the pool gets as many requests as it takes, and any other gets a page at once"
        ] = f"limit_conn aroundtheworld_{pool}_at_once {places};"
    if rate:
        promises["an address sends as many requests as it may"] = (
            f"limit_req zone=aroundtheworld_{pool}_rate_w10001 {rate};"
        )
    return promises


def to_public(path):
    return to_a_pool("public", "aroundtheworld_backends", path, 7)


def to_admin(path):
    settings = {"replay": False, "closes": False, "rate": "burst=3 nodelay", "again": 2}
    return to_a_pool("admin", "aroundtheworld_admin_backends", path, 9, 300, **settings)


def to_shop(path):
    compressed = {"its responses are compressed, as the operator wants it": "gzip on;"}
    return to_a_pool("shop", "aroundtheworld_shop_backends", path) | compressed


def files(pool, *, closes=True, rate=False):
    promises = {
        **VISITORS[pool],
        "the file of this content, of any release, then the current release's, then one of any "
        "release that has the name, then the app's response": f"""
            root {HOME}/assets;
            try_files $w10001_files$uri /current$uri /names$uri
                /.aroundtheworld/app$uri;
        """,
        "a file is sent as it was compressed when it was deployed": "gzip_static on;",
        "a file is kept as long as its name fits its content": (
            "add_header Cache-Control $w10001_cache;"
        ),
        "no browser guesses the type of a file": "default_type application/octet-stream;",
        **HEADERS,
        "a file has the type of its extension": """
            include /etc/nginx/mime.types;
            types { application/manifest+json webmanifest; text/javascript mjs; }
        """,
        "limits of the host do not stand in for the pool's": (
            "limit_conn aroundtheworld_uncounted_places 1;"
            + "limit_req zone=aroundtheworld_uncounted_requests;" * rate
        ),
    }
    return promises | closing(pool, closes=closes)


INTERNAL = {"no visitor reaches it by its path": "internal;"}


def media(directory):
    return {
        "a file of the app's own data, and of this directory": (
            f"alias {HOME}/shared/{directory}/; autoindex off;"
        ),
        "a link in it leads nowhere": f"disable_symlinks on from={HOME}/shared;",
        "no browser guesses the type of a file": """
            default_type application/octet-stream; include /etc/nginx/mime.types;
        """,
        "no browser runs a program in it": """
            add_header Content-Security-Policy
                "script-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'" always;
        """,
        **HEADERS,
    }


def error(kind, content_type):
    return {
        **INTERNAL,
        "its type is not that of the path": f'types {{ }} default_type "{content_type}";',
        "it has the time to try again, where there is one": (
            "add_header Retry-After $w10001_error_wait always;"
        ),
        "no cache keeps it": "add_header Cache-Control no-store always;",
        "it says what is wrong": f"return 200 $w10001_error_{kind};",
        **HEADERS,
    }


HTML = error("html", "text/html; charset=utf-8")
JSON = error("json", "application/json")
UNLOGGED = {"it is not a visit": "access_log off;"}
NOT_KEPT = {"no cache keeps it": "add_header Cache-Control no-store always;", **HEADERS}
ANY_BODY = {"a pool's own limit of bodies is not the server's": "client_max_body_size 0;"}

LOCATIONS = {
    ("=", "/.aroundtheworld/closed"): {
        **INTERNAL,
        **ANY_BODY,
        "it is the page that closes the site, in the visitor's form": f"""
            root {HOME}/maintenance/switch;
            try_files /page.$w10001_error_format /.aroundtheworld/closed-by-hand;
            types {{ application/json json; }}
        """,
        "it is a page": 'default_type "text/html; charset=utf-8";',
        "it has the time to come back": ("add_header Retry-After $w10001_closed_until always;"),
        **NOT_KEPT,
    },
    ("=", "/.aroundtheworld/closed-by-hand"): {
        **INTERNAL,
        **ANY_BODY,
        "it is the page that closes the site": f"alias {HOME}/maintenance.html;",
        "it is a page": 'default_type "text/html; charset=utf-8";',
        "it has the time to come back": "add_header Retry-After 90 always;",
        **NOT_KEPT,
    },
    ("/.aroundtheworld/enter/",): {
        **UNLOGGED,
        "it is there while the site is closed, and a wrong link gets no page that is logged": (
            f"if (!-f {HOME}/maintenance/keys/$w10001_link) {{"
            r' return 404 "This link leads nowhere.\n"; } default_type text/plain;'
        ),
        "it leads to the site, wherever that is": "absolute_redirect off; return 302 /;",
        "the browser shows the key from then on": """
            add_header Set-Cookie "aroundtheworld_way_in=$w10001_link; Path=/; HttpOnly;\
 SameSite=Lax$w10001_secure";
        """.replace("\\\n", ""),
        **NOT_KEPT,
    },
    ("=", "/.aroundtheworld/state"): {
        **UNLOGGED,
        "it says whether the site is closed": rf"""
            if (-f {HOME}/maintenance.html) {{ return 200 "maintenance\n"; }} return 200 "open\n";
        """,
        "it is text": "default_type text/plain;",
        **NOT_KEPT,
    },
    ("=", "/.aroundtheworld/up"): {
        **UNLOGGED,
        "who may ask is decided first": "try_files /.aroundtheworld/up @aroundtheworld_check;",
    },
    ("@aroundtheworld_check",): {
        **INTERNAL,
        **UNLOGGED,
        "it asks for the health of the public pool, and for nothing that others ask for": (
            "satisfy all; allow all; auth_basic off; auth_request /.aroundtheworld/health;"
        ),
        "its answer is yes or no, and nothing of the pool's": """
            try_files /.aroundtheworld/up @aroundtheworld_up;
            error_page 401 403 500 =503 @aroundtheworld_down;
        """,
    },
    ("=", "/.aroundtheworld/health"): {
        **INTERNAL,
        "it is the health check of the public pool": """
            proxy_read_timeout 5s; proxy_next_upstream error timeout;
            proxy_pass http://aroundtheworld_backends/;
        """,
        "a visitor's body is not announced": 'proxy_set_body "";',
        "a status that is right is a yes": """
            proxy_intercept_errors on;
            error_page 300 301 302 303 304 305 307 308 =200 @aroundtheworld_up;
        """,
    },
    ("@aroundtheworld_up",): {
        **INTERNAL,
        "it is yes": r'default_type text/plain; return 200 "up\n";',
        **NOT_KEPT,
    },
    ("@aroundtheworld_down",): {
        **INTERNAL,
        "it is no": r'default_type text/plain; return 503 "down\n";',
        **NOT_KEPT,
    },
    ("=", "/.aroundtheworld/nginx"): {
        "it has the id of the configuration that nginx runs": r'return 200 "@CONFIGURATION@\n";',
        "it is not a visit": "access_log off;",
        "it is text": "default_type text/plain;",
        "no cache keeps it": "add_header Cache-Control no-store always;",
        **HEADERS,
    },
    ("/.aroundtheworld/",): {"no path of the site's own reaches the app": "return 404;"},
    ("~", "//"): {
        "a path has no // also where another site decides that for the address": (
            r'rewrite "(?s)^(.*?)/{2,}(.*)$" $1/$2;' * 12
        ),
        "no body is too large before its pool is known": "client_max_body_size 0;",
        "a path with more of them is refused": "if ($uri ~ //) { return 400; }",
    },
    ("/",): to_public("/"),
    ("=", "/admin"): to_admin("/admin"),
    ("/admin/",): to_admin("/admin/"),
    ("=", "/shop"): to_shop("/shop"),
    ("/shop/",): to_shop("/shop/"),
    ("/static/",): files("public"),
    ("/.aroundtheworld/app/static/",): {**INTERNAL, **to_public("/static/")},
    ("/admin/files/",): files("admin", closes=False, rate=True),
    ("/.aroundtheworld/app/admin/files/",): {**INTERNAL, **to_admin("/admin/files/")},
    ("/admin/uploads/",): {
        **media("uploads"),
        **VISITORS["admin"],
        "limits of the host do not stand in for the pool's": """
            limit_conn aroundtheworld_uncounted_places 1;
            limit_req zone=aroundtheworld_uncounted_requests;
        """,
        **closing("admin", closes=False),
    },
    ("/invoices/",): {**INTERNAL, **media("invoices")},
    ("@range",): {
        **INTERNAL,
        "the header comes once": "".join(
            f'add_header {args[0]} "";'
            for text in HEADERS.values()
            for args in parse_nginx(text).all("add_header")
        ),
        "a file does not have this range": "return 416;",
    },
    ("@error_html",): HTML,
    ("=", "/.aroundtheworld/error.html"): HTML,
    ("@error_json",): JSON,
    ("=", "/.aroundtheworld/error.json"): JSON,
}

ALL_WORKERS = "each worker is in, and stays in while it restarts"
LEAST = "a blocked worker gets no more requests than it has"
SHARED = "nginx's processes count together"
KEPT = "a connection is closed by nginx, before a worker would"
UPSTREAMS = {
    ("aroundtheworld_backends",): {
        SHARED: "zone aroundtheworld_backends 128k;",
        LEAST: "least_conn;",
        ALL_WORKERS: "".join(
            f"server 127.0.0.1:{port} max_fails=0;" for port in (10001, 10002, 10003)
        ),
        "there are connections enough": "keepalive 48;",
        KEPT: "keepalive_timeout 1s;",
    },
    ("aroundtheworld_admin_backends",): {
        SHARED: "zone aroundtheworld_admin_backends 128k;",
        LEAST: "least_conn;",
        ALL_WORKERS: "server 127.0.0.1:10004 max_fails=0;",
        "there are connections enough": "keepalive 16;",
        KEPT: "keepalive_timeout 1s;",
    },
    # A command may close idle connections at any moment, so none is kept.
    ("aroundtheworld_shop_backends",): {
        SHARED: "zone aroundtheworld_shop_backends 128k;",
        LEAST: "least_conn;",
        ALL_WORKERS: "server 127.0.0.1:10005 max_fails=0;",
    },
}

QUALITY = "(?:;(?! *q *=)[^,;]*)*(?:; *q=([01](?:[.][0-9]{0,3})?) *(?:[,;]|$)|,|$)"
GREATER = "".join(f"|[{digit + 1}-9][0-9]*:q0[.]\\g{{1}}{digit}" for digit in range(9))
# Table 3-7 of the Unicode Standard.
UTF8 = (
    r"(?:[\x00-\x7f]+|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]"
    r"|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    r"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})*"
)
CUT = "$2\N{REPLACEMENT CHARACTER}"
ERRORS = load_yaml("vars/main.yml")["__aroundtheworld_errors"]
PAGE = render(
    "error.html.j2",
    variables_for({})
    | {
        "error": {
            "title": "${w10001_error_title}",
            "sentence": "${w10001_error_detail}",
            "status": "${status}",
            "request_id": "${request_id}",
        }
    },
)
MAPS = {
    **{
        (f"$sent_http_{header}", f"$w10001_header_{number}"): {
            "the app's own header wins": f"default ''; '' '{value}';"
        }
        for number, (header, value) in enumerate(
            [
                ("x_content_type_options", "nosniff"),
                ("x_frame_options", "SAMEORIGIN"),
                ("referrer_policy", "strict-origin-when-cross-origin"),
                (
                    "permissions_policy",
                    "camera=(self), display-capture=(self), geolocation=(self), hid=(self), "
                    "microphone=(self), midi=(self), serial=(self), usb=(self)",
                ),
                ("cross_origin_opener_policy", "same-origin"),
            ],
            1,
        )
    },
    ("$http_accept", "$w10001_pages"): {
        "pages are for those who ask for them": f"""
            default none; "~*(?:^|,) *text/html *{QUALITY}" q$1;
        """,
    },
    ("$http_accept", "$w10001_data"): {
        "JSON is for those who ask for it, in one of its names": f"""
            default none;
            "~*(?:^|,) *application/json *{QUALITY}" q$1;
            "~*(?:^|,) *application/(?:[*]|[^ ,;]+[+]json) *{QUALITY}" q$1;
        """,
    },
    ("$w10001_data:$w10001_pages", "$w10001_error_format"): {
        "a page unless something else is asked for": "default html;",
        "JSON that is refused is not sent": '"~^(?:none|q0[.]?0*):" html;',
        "a page that is refused is not sent": '"~:(?:none|q0[.]?0*)$" json;',
        "of two alike, pages": '"~:q(?:1[.]?0*)?$" html;',
        "who prefers JSON gets it": f"""
            "~^q(?:1[.]?0*)?:" json;
            "~^q0[.]([0-9]*)(?:[1-9][0-9]*:q0[.]\\g{{1}}${GREATER})" json;
        """,
    },
    **{
        ("$status", f"$w10001_error_{name}"): {
            "an error has words": "".join(
                f'{status} "{error[text]}";' for status, error in ERRORS.items()
            ),
        }
        for text, name in {"title": "title", "sentence": "detail"}.items()
    },
    ("$status", "$w10001_error_wait"): {
        "only what helps later is asked for again": """
            default ""; 429 $w10001_retry_after; 503 5;
        """,
    },
    ("$status", "$w10001_error_html"): {
        "a page is as long as it is": 'default "$w10001_error_html_1";',
    },
    ("$status", "$w10001_error_html_1"): {
        "it is the page": f"default '{PAGE}';",
    },
    ("$status", "$w10001_error_json"): {
        "it has the shape of the game's own": """
            default '{"error": {"status": $status, "title": "$w10001_error_title",
 "detail": "$w10001_error_detail", "request_id": "$request_id"}}
';
        """,
    },
    ("$http_host", "$w10001_port"): {
        "the visitor's port, where there is one": """
            default "";
            "~(:[0-9]{1,5})$" $1;
        """,
    },
    ("$http_upgrade", "$w10001_upgrade"): {
        "a WebSocket and no other upgrade": 'default ""; "~*^websocket$" websocket;',
    },
    ("$w10001_upgrade", "$w10001_connection"): {
        "a connection to a worker is kept, but for a WebSocket": 'default ""; websocket upgrade;',
    },
    ("$remote_addr", "$w10001_client"): {
        "on a socket for both families, an IPv4 address is written as usual": r"""
            default $remote_addr;
            "~^::ffff:([0-9.]+)$" $1;
        """,
    },
    ("$binary_remote_addr", "$w10001_network"): {
        "an address is one of IPv4, in whatever socket, or the first half of one of IPv6": r"""
            default $binary_remote_addr;
            "~(?s)^\x00{10}\xff{2}(.{4})$" $1;
            "~(?s)^(.{8}).{8}$" $1;
        """,
    },
    ("$w10001_trusted:$http_x_forwarded_proto", "$w10001_scheme"): {
        "a trusted proxy says by which scheme a visitor comes": """
            default $scheme; "proxy:http" http; "proxy:https" https;
        """,
    },
    ("$upstream_http_x_aroundtheworld_release", "$w10001_release"): {
        "the log has the release": """
            default "";
            "~^[0-9a-f]+$" $upstream_http_x_aroundtheworld_release;
        """,
    },
    ("$status", "$w10001_status"): {
        "a number in the log is one of JSON": "default $status; 000 0; 009 9;",
    },
    **{
        (f"${text}", f"$w10001_log_{name}"): {
            "the log is UTF-8, and where all is ASCII that is all that is looked at": (
                rf'default ${text}; "~^(?=[\x00-\x7f]*[\x80-\xff])'
                rf'(?=({UTF8}))(\1)[\x80-\xff]" "{CUT}";'
            )
        }
        for name, text in (
            ("uri", "request_uri"),
            ("host", "host"),
            ("referrer", "http_referer"),
            ("agent", "http_user_agent"),
        )
    },
    ("$cookie_aroundtheworld_way_in", "$w10001_key"): {
        "only what may be a key is the name of a file": """
            default none; "~^[0-9a-f]{32}$" $cookie_aroundtheworld_way_in;
        """,
    },
    ("$uri", "$w10001_link"): {
        "only what may be a key is a link": r"""
            default none; "~^/\.aroundtheworld/enter/([0-9a-f]{32})$" $1;
        """,
    },
    ("$http_cookie", "$w10001_cookies"): {
        "all cookies but the key": """
            default $http_cookie;
            "~*^((?:.*[;,] *)?)aroundtheworld_way_in *=[^;]*;? *(.*)$" $1$2;
        """,
        "none of them where one is to get the key out": """
            "~*(?:^|[;,] *)aroundtheworld_way_in *=.*[;,] *aroundtheworld_way_in *=" "";
        """,
    },
    ("$w10001_scheme", "$w10001_secure"): {
        "the key goes over HTTPS only, where there is HTTPS": """default ""; https "; Secure";""",
    },
    ("$realpath_root", "$w10001_closed_until"): {
        "the time to come back, from the name of a directory": """
            default 90; "~~([A-Za-z0-9 ,:]+)$" $1;
        """,
    },
    ("$arg_v", "$w10001_files"): {
        "only a checksum finds a file by its content": """
            default /current;
            "~^([0-9a-f]{128})$" /versions/$1;
        """,
    },
    ("$uri", "$w10001_cache"): {
        "only what was found by its content is kept for ever": """
            default "public, no-cache";
            "~^/versions/" "public, max-age=31536000, immutable";
        """,
    },
}

GEOS = {
    ("$w10001_client", "$w10001_let_in"): {
        "who is on the list comes in while the site is closed": 'default ""; 192.0.2.0/24 yes;',
    },
    ("$w10001_dollar",): {"a page may have a dollar sign": 'default "$";'},
    ("$w10001_stranger_10004",): {
        "who is on a pool's list, and who is not": """
            default yes; 192.0.2.0/24 ""; 2001:db8::/32 "";
        """,
    },
    ("$realip_remote_addr", "$w10001_trusted"): {
        "who connects is a trusted proxy or not": """
            default ""; 192.0.2.10/32 proxy; 2001:db8::/32 proxy;
        """,
    },
}

# A field of the log to the variable it has.
LOG = {
    "time": "$time_iso8601",
    "request_id": "$request_id",
    "client": "$w10001_client",
    "protocol": "$server_protocol",
    "tls_protocol": "$ssl_protocol",
    "tls_cipher": "$ssl_cipher",
    "host": "$w10001_log_host",
    "method": "$request_method",
    "uri": "$w10001_log_uri",
    "status": "$w10001_status",
    "bytes": "$body_bytes_sent",
    "seconds": "$request_time",
    "pool": "$w10001_pool",
    "release": "$w10001_release",
    "upstream": "$upstream_addr",
    "upstream_status": "$upstream_status",
    "upstream_connect_seconds": "$upstream_connect_time",
    "upstream_header_seconds": "$upstream_header_time",
    "upstream_seconds": "$upstream_response_time",
    "referrer": "$w10001_log_referrer",
    "user_agent": "$w10001_log_agent",
}
NUMBERS = {"status", "bytes", "seconds"}


@pytest.fixture(scope="module")
def site():
    return site_of(EVERYTHING)[1]


@pytest.fixture(scope="module")
def server():
    return site_of(EVERYTHING)[2]


def lines(block):
    """Return the directives of a block, those with a block of their own too, but no locations."""
    return [
        json.dumps(
            [each["directive"], each["args"], *([lines_of(each)] if "block" in each else [])]
        )
        for each in block.directives
        if each["directive"] != "location"
    ]


def lines_of(directive):
    return [[inner["directive"], inner["args"]] for inner in directive["block"]]


def missing(block, text):
    return [line for line in set(lines(parse_nginx(text))) if line not in lines(block)]


def unpromised(block, promises):
    """Return the lines that no promise has, or that are there more or less often than promised."""
    promised = [line for text in promises.values() for line in lines(parse_nginx(text))]
    return [line for line in {*promised, *lines(block)}
            if promised.count(line) != lines(block).count(line)]  # fmt: skip


def table(blocks):
    return pytest.mark.parametrize(
        ("match", "promise", "text"),
        [
            pytest.param(match, promise, text, id=f"{' '.join(match)}: {promise}")
            for match, promises in blocks.items()
            for promise, text in promises.items()
        ],
    )


@pytest.mark.parametrize("promise", SERVER)
def test_the_server_keeps_its_promise(server, promise):
    assert missing(server, SERVER[promise]) == []


def test_each_line_of_the_server_has_a_promise(server):
    names = {name for header in (*SET, *OF_A_BODY, *CLEARED) for name in spellings(header)} - {
        *SET,
        *OF_A_BODY,
    }
    cleared = "".join(f'proxy_set_header {name} "";' for name in names)
    made_up = {"no visitor can make up what an app learns about them": cleared}
    assert unpromised(server, SERVER | made_up) == []


@table(LOCATIONS)
def test_a_location_keeps_its_promise(server, match, promise, text):
    assert missing(server.location(*match), text) == []


@pytest.mark.parametrize("match", LOCATIONS, ids=" ".join)
def test_each_line_of_a_location_has_a_promise(server, match):
    assert unpromised(server.location(*match), LOCATIONS[match]) == []


def test_each_location_is_in_the_table(server):
    assert server.blocks("location").keys() == LOCATIONS.keys()


@table(UPSTREAMS)
def test_an_upstream_keeps_its_promise(site, match, promise, text):
    assert missing(site.blocks("upstream")[match], text) == []


@table(MAPS)
def test_a_map_keeps_its_promise(site, match, promise, text):
    assert missing(site.blocks("map")[match], text) == []


@table(GEOS)
def test_a_geo_keeps_its_promise(site, match, promise, text):
    assert missing(site.blocks("geo")[match], text) == []


@pytest.mark.parametrize(
    ("kind", "blocks"), [("upstream", UPSTREAMS), ("map", MAPS), ("geo", GEOS)]
)
def test_each_line_of_an_upstream_or_a_map_has_a_promise(site, kind, blocks):
    found = site.blocks(kind)
    assert found.keys() == blocks.keys()
    for match, promises in blocks.items():
        assert unpromised(found[match], promises) == []


def test_a_pools_requests_are_counted_together_and_not_by_visitor(site):
    assert site.all("limit_conn_zone") == [
        [pool, f"zone=aroundtheworld_{pool}_at_once:64k"] for pool in ("public", "admin")
    ] + [["", "zone=aroundtheworld_uncounted_places:32k"]]


def test_an_address_has_a_rate_in_each_pool_for_itself(site):
    zone = ["zone=aroundtheworld_admin_rate_w10001:10m", "rate=30r/m"]
    uncounted = ["", "zone=aroundtheworld_uncounted_requests:32k", "rate=1r/s"]
    assert site.all("limit_req_zone") == [["$w10001_network", *zone], uncounted]


@pytest.fixture(scope="module")
def log(site):
    ((name, escape, *parts),) = site.all("log_format")
    assert (name, escape) == ("aroundtheworld", "escape=json")
    text = "".join(parts)
    # A number has no quotation marks.
    assert set(re.findall(r'"(\w+)":\$', text)) == NUMBERS
    return json.loads(re.sub(r":(\$\w+)", r':"\1"', text))


@pytest.mark.parametrize("field", LOG)
def test_the_log_has_the_field(log, field):
    assert log.get(field) == LOG[field]


def test_each_field_of_the_log_is_in_the_table(log):
    assert log.keys() == LOG.keys()


def test_there_is_nothing_else_outside_of_blocks(site):
    assert {name for name, _ in site} == {"log_format", "limit_conn_zone", "limit_req_zone"}


def test_by_the_proxy_protocol_the_site_is_the_same():
    _, site, server = site_of({**EVERYTHING, "aroundtheworld_proxy_protocol_port": 8443})
    _, by_proxy, _ = site.servers()
    known = lines(parse_nginx("real_ip_header proxy_protocol;"))
    known += lines(parse_nginx("listen 8443 proxy_protocol; listen [::]:8443 proxy_protocol;"))
    gone = lines(parse_nginx("real_ip_header X-Forwarded-For; listen 80; listen [::]:80;"))
    assert sorted(lines(by_proxy)) == sorted({*lines(server)} - {*gone} | {*known})
    assert by_proxy.blocks("location").keys() == server.blocks("location").keys()
    # Headers are the visitor's there, also if a trusted proxy passes them on.
    assert ("$w10001_speaker", "$w10001_trusted") in site.blocks("geo")
    assert unpromised(
        site.blocks("map")["$server_port", "$w10001_speaker"],
        {"there is no speaker": 'default $realip_remote_addr; 8443 "";'},
    ) == []  # fmt: skip


NUMBERS_OF_NGINX = {
    "it listens on the host only": "listen 127.0.0.1:9146;",
    "its responses do not have nginx's version": "server_tokens off;",
    "it is not a visit": "access_log off;",
}
NUMBERS_OF_NGINX_PATH = {
    "it has what the exporter reads": "stub_status;",
    "the host may ask, and nobody else": "allow 127.0.0.1; deny all;",
}


# Mozilla's intermediate profile, version 6.0, in its order.
CIPHERS = [
    f"ECDHE-{kind}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for kind in ("ECDSA", "RSA")
]
SUITES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
HTTPS = {
    "it listens on all addresses of the host": "listen 443 ssl; listen [::]:443 ssl; http2 on;",
    "the certificate and its key are where their owner has them": """
        ssl_certificate /etc/ssl/shop.pem; ssl_certificate_key /etc/ssl/shop.key;
        ssl_reject_handshake off;
    """,
    "browsers of these years can come, and only by what is safe": f"""
        ssl_protocols TLSv1.2 TLSv1.3; ssl_ciphers {":".join(CIPHERS)};
        ssl_conf_command Ciphersuites {":".join(SUITES)}; ssl_prefer_server_ciphers off;
    """,
    "what is recorded today is not read when there are quantum computers": (
        "ssl_ecdh_curve ?X25519MLKEM768:X25519:prime256v1:secp384r1;"
    ),
    "a visitor who was here before needs less time": """
        ssl_session_timeout 1d; ssl_session_cache shared:aroundtheworld_tls:10m;
        ssl_session_tickets on;
    """,
    "no request is sent twice by somebody else": "ssl_early_data off;",
    "visitors are asked for no certificate": "ssl_verify_client off; ssl_verify_depth 1;",
    "nobody else is asked about a certificate": """
        ssl_ocsp off; ssl_stapling off; ssl_stapling_verify off;
    """,
    "a response has the usual size of records": "ssl_buffer_size 16k;",
}


def test_each_line_for_https_has_a_promise():
    changes = MODELS["https"]
    complete = variables_for(changes, version=(1, 26), openssl=(3, 5))
    site = parse_nginx(render("site.conf.j2", complete))
    leading, canonical = site.servers()[1:]
    plain = {"aroundtheworld_server_names": ["example.org"]}
    _, _, without = site_of(plain)
    more = [line for line in lines(canonical) if line not in lines(without)]
    promised = [line for text in HTTPS.values() for line in lines(parse_nginx(text))]
    header = "add_header Strict-Transport-Security $w10001_hsts always;"
    assert sorted(more) == sorted([*promised, *lines(parse_nginx(header))])
    assert set(promised) <= set(lines(leading))


def test_nginx_gives_its_numbers_to_the_host_only(site):
    _, numbers = site.servers()
    assert unpromised(numbers, NUMBERS_OF_NGINX) == []
    assert unpromised(numbers.location("=", "/nginx"), NUMBERS_OF_NGINX_PATH) == []
    assert unpromised(numbers.location("/"), {"there is nothing else": "return 404;"}) == []
    assert len(numbers.blocks("location")) == 2
