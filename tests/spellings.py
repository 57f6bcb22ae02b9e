"""Spellings of paths by which a visitor may try to get somewhere else than to the public side."""

from __future__ import annotations

import itertools


def words(text: str) -> list[str]:
    """Return the words of a text, each a spelling or a part of one."""
    return text.split()


# What nginx or an app may read as a slash, a dot, or the end of a path.
SLASHES = [
    *words(r"""
    / // /// %2f %2F /%2f %2f/ /./ /.// /x/../ /x/..// /%2e/ /x/%2e%2e/ /x%2f..%2f /.%2f /..;/ /;/
    /x;/../ \ /\ %5c /%5c /%00 /%0a /%0d%0a /%09 /%20 %252f /%252e%252e/ /%c0%af /%e0%80%af
    /%ef%bc%8f /%u002f /# /#/ /?/ /%3f /%23 /. /% /%2 /%zz /~ /$uri/ /* /../ /../../ /..%2f
    /%2e%2e%2f
"""),
    *("/ ", "/\t", "/\x0b", "/\xff"),
]
ADMIN = words(r"""
    admin ADMIN aDmin %61dmin adm%69n %61%64%6d%69%6e %2561dmin admin%00 admin%2f admin;x admin.
    admin%20 administrator admin\ admin# admin? %EF%BD%81dmin a%CC%81dmin
""")
ENDS = words("""
    / /x //x /.. /../ /../x /..%2fx /. /x/../.. /x/../../admin /%2e%2e/admin /../admin/x ? ?/admin
    /?x=/../.. #/x ;/../x
""")
ABSOLUTE = words("""
    http://shop.example HTTP://shop.example http://evil.example https://shop.example
    http://shop.example:80 http://a@shop.example http://shop.example# http:// // http:/
    ftp://shop.example http://[::1] http://shop.example? shop.example http://SHOP.EXAMPLE. *
""")
CLIMBS = words(r"""
    ../ ..%2f %2e%2e/ %2e%2e%2f ..\ ..%5c ....// ..;/ .%2e/ %252e%252e/ ..%00/ ..%c0%af x/../../
    ./../ //../ ..//
""")
FOUND = words("""
    /static /static/ /admin/static/ /static/. /static// /STATIC/ /static%2f /static.. /static../
    /static;/ /static/a.css/
""")
BESIDE = words(f"""
    /shared/shop.db /releases/0123456789ab/app/shop.py /deploys.jsonl /current/app/shop.py
    /assets/index.json /index.json /home/shared/shop.db /etc/passwd /versions/none/static/a.css
    /current/static/a.css /names/static/a.css /.aroundtheworld/app/admin
    /.aroundtheworld/app/static/x /.aroundtheworld/closed /.aroundtheworld/../admin
    /.aroundtheworld/nginx/x /static/../admin /static/%2e%2e/admin/x /static/..%2fadmin /static/%00
    /static/a.css%00.png /static/a.css/../../admin /static/?v=../../shared
    /static/a.css?v={"0" * 128} /static/a.css?v=../../../home/shared/shop.db
""")
TARGETS = ((1, "index.json"), (2, "shared/shop.db"), (9, "etc/passwd"))

PATHS = [
    *(slash + name for slash in SLASHES for name in ADMIN[:4]),
    *(f"/{name}{end}" for name in ADMIN for end in ("", *ENDS[:5])),
    *(f"/admin{end}" for end in ENDS),
    *(f"/x{slash}admin/x" for slash in SLASHES),
    *(start + path for start in ABSOLUTE for path in ("/admin", "//admin/x", "/x")),
    *(
        place + climb * depth + target
        for place, climb in itertools.product(FOUND[:3], CLIMBS)
        for depth, target in TARGETS
    ),
    *(f"{place}../{target}" for place in FOUND for target in ("", "../deploys.jsonl")),
    *(
        f"/{place}{end}/shop.db"
        for place in ("static", "admin/static")
        for end in ("..", "%2e%2e", "..%2f", "/..", "/.", "/..;", "../../current")
    ),
    *BESIDE,
]
