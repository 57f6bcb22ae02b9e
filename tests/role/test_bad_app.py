"""An app directory or lockfile that cannot be used is refused in a sentence."""

import pytest

from aroundtheworld_controller.content import describe_release
from aroundtheworld_controller.variables import BadInputError
from tests.role.refusals import DEFAULTS

HASH = "--hash=sha256:" + "0" * 64


@pytest.fixture
def app(tmp_path):
    (tmp_path / "shop.py").write_text("def make_app(): ...\n")
    (tmp_path / "requirements.txt").write_text(f"tornado==6.5.2 {HASH}\n")
    return tmp_path


def release_problems(app, **changes):
    variables = {
        "aroundtheworld_app_dir": str(app),
        "aroundtheworld_make_app": "shop:make_app",
        "aroundtheworld_requirements": "requirements.txt",
        "aroundtheworld_app_exclude": DEFAULTS["aroundtheworld_app_exclude"],
        "aroundtheworld_static": [],
    }
    with pytest.raises(BadInputError) as caught:
        describe_release(variables | changes)
    return caught.value.problems


def test_an_app_directory_that_is_missing(app):
    (problem,) = release_problems(app / "nowhere")
    assert (
        f"aroundtheworld_app_dir: '{app}/nowhere' is not a directory on the controller" in problem
    )


def test_an_app_directory_that_is_a_file(app):
    (problem,) = release_problems(app / "shop.py")
    assert "aroundtheworld_app_dir: " in problem
    assert "set the directory that holds the app and its requirements" in problem


def test_a_lock_file_that_is_missing(app):
    (problem,) = release_problems(app, aroundtheworld_requirements="lock.txt")
    assert f"aroundtheworld_requirements: lock.txt does not exist in {app}" in problem
    assert "uv pip compile --universal --generate-hashes" in problem


def test_a_module_that_is_not_there(app):
    (problem,) = release_problems(app, aroundtheworld_make_app="shoop.web:make_app")
    assert "aroundtheworld_make_app: 'shoop.web:make_app' names the module 'shoop'" in problem
    assert f"neither in {app} nor among the locked requirements" in problem


def test_a_link_that_leads_nowhere(app):
    (app / "logo.svg").symlink_to("gone.svg")
    (problem,) = release_problems(app)
    assert f"aroundtheworld_app_dir: '{app}/logo.svg' is a link to 'gone.svg'" in problem
    assert "aroundtheworld_app_exclude" in problem


A_PIN = "every line must name one exact version with '=='"
A_LINE = (
    "allowed are lines like 'tornado==6.5 --hash=sha256:…' (no options, no links, no directories)"
)
A_HASH = "every line needs its '--hash=sha256:…'"


@pytest.mark.parametrize(
    ("line", "shown", "allowed"),
    [
        ("tornado==6.5.2", "'tornado==6.5.2' without a hash", A_HASH),
        ("tornado==6.5.2 --hash=md5:00", "'tornado==6.5.2' without a hash", A_HASH),
        ("tornado==6.5.2 --hash=sha256:00", "'tornado==6.5.2' without a hash", A_HASH),
        (f"tornado {HASH}", "'tornado'", A_PIN),
        (f"tornado>=6.5 {HASH}", "'tornado>=6.5'", A_PIN),
        (f"tornado==6.* {HASH}", "'tornado==6.*'", A_PIN),
        (f"tornado==6.5.2,<7 {HASH}", "'tornado==6.5.2,<7'", A_PIN),
        (f"tornado===6.5.2 {HASH}", "'tornado===6.5.2'", A_PIN),
        (f"tornado @ https://example.org/tornado.whl {HASH}", "'tornado @ https://exam", A_PIN),
        (f"https://example.org/tornado.whl {HASH}", "'https://example.org/tornado.whl'", A_LINE),
        ("git+https://example.org/tornado.git", "'git+https://example.org/tornado.git'", A_LINE),
        ("./tornado", "'./tornado'", A_LINE),
        ("-e .", "'-e .'", A_LINE),
        ("-r other.txt", "'-r other.txt'", A_LINE),
        ("--index-url https://example.org/simple", "'--index-url https://example.org/s", A_LINE),
        (f"tornado==6.5.2 ; sometimes {HASH}", "'tornado==6.5.2 ; sometimes'", A_LINE),
    ],
)
def test_a_line_that_no_lock_has(app, line, shown, allowed):
    lock = f"# made by uv\nalembic==1.0 \\\n    {HASH} \\\n    {HASH}\n    # via x\n{line}\n"
    (app / "requirements.txt").write_text(lock)
    (problem,) = release_problems(app)
    assert problem.startswith("aroundtheworld_requirements: requirements.txt")
    assert shown in problem
    assert allowed in problem
    if allowed == A_LINE:
        assert "line 6 reads" in problem


def test_a_line_that_goes_on_below_is_named_where_it_begins(app):
    lock = f"alembic==1.0 \\\n    {HASH}\n\n./tornado \\\n    {HASH}\n"
    (app / "requirements.txt").write_text(lock)
    (problem,) = release_problems(app)
    assert "line 4 reads './tornado'" in problem


def test_every_bad_line_is_reported_at_once(app):
    (app / "requirements.txt").write_text(f"a==1\nb>=2 {HASH}\nc==3 {HASH}\n-e .")
    assert len(release_problems(app)) == 3
