"""gixy finds nothing in the site where nginx has it, between Debian's files and neighbours'."""

import json
import shutil
import subprocess

SITE = "/etc/nginx/sites-enabled/aroundtheworld.conf"
# scripts/lint has the reasons for the first two. Of an address only one server can be the default,
# and that may be another site's, so the site answers unknown names by being the first instead.
SKIPPED = "proxy_pass_normalized,try_files_is_evil_too,default_server_flag"


def found_in_site(text, path):
    """Return the plugins of gixy that found something in the site's own file."""
    path.write_text(text)
    command = [shutil.which("gixy"), "--format", "json", "--skips", SKIPPED, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [finding["plugin"] for finding in json.loads(done.stdout) if finding["file"] == SITE]


def test_gixy_finds_nothing_in_the_site(host, tmp_path):
    text = host.check_output("nginx -T 2>/dev/null")
    assert found_in_site(text, tmp_path / "nginx.conf") == []
    # It looks at that file.
    careless = text.replace("return 302 /;", "return 302 $uri;")
    assert "http_splitting" in found_in_site(careless, tmp_path / "careless.conf")
