"""An app directory or lockfile that cannot be used is refused in a sentence."""

import pytest

from aroundtheworld_controller.app.release import describe_release
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
    (app / "requirements.txt").unlink()
    (problem,) = release_problems(app)
    assert f"aroundtheworld_requirements: requirements.txt does not exist in {app}" in problem
    assert "uv pip compile --universal --generate-hashes" in problem


@pytest.mark.parametrize(
    ("there", "answer"),
    [
        ("requirements.txt", "did you mean requirements.txt?"),
        ("pylock.toml", "did you mean pylock.toml?"),
        (
            "uv.lock",
            "there is uv.lock, from which `uv export --no-dev --output-file requirements.txt` ",
        ),
        ("poetry.lock", "`poetry export --output requirements.txt`"),
        ("pdm.lock", "`pdm export --prod --output requirements.txt`"),
        ("Pipfile.lock", "`pipenv requirements --hash > requirements.txt`"),
        ("requirements.in", "`uv pip compile --universal --generate-hashes requirements.in --outp"),
        ("pyproject.toml", "`uv pip compile --universal --generate-hashes pyproject.toml --outp"),
    ],
)
def test_what_to_type_follows_from_what_is_there(app, there, answer):
    (app / "requirements.txt").rename(app / there)
    (problem,) = release_problems(app, aroundtheworld_requirements="requirement.lock")
    assert answer in problem


def test_the_usual_lockfile_is_named_before_others(app):
    for name in ("pylock.dev.toml", "pylock.toml", "dev-requirements.txt"):
        (app / name).touch()
    (app / "requirements.txt").unlink()
    (problem,) = release_problems(app, aroundtheworld_requirements="x.lock")
    assert problem.endswith("did you mean pylock.toml?")


@pytest.mark.parametrize("name", ["uv.lock", "poetry.lock", "pyproject.toml", "requirements.in"])
def test_the_file_of_another_program_is_refused_with_what_to_type(app, name):
    (app / name).touch()
    (problem,) = release_problems(app, aroundtheworld_requirements=name)
    assert f"aroundtheworld_requirements: {name} is not a lockfile that pip reads; type" in problem


def test_a_module_that_is_not_there(app):
    (problem,) = release_problems(app, aroundtheworld_make_app="shoop.web:make_app")
    assert "aroundtheworld_make_app: 'shoop.web:make_app' names the module 'shoop'" in problem
    assert f"neither in {app} nor among the locked requirements" in problem


def test_a_module_that_is_left_out(app):
    (app / "tests").mkdir()
    (app / "tests" / "web.py").touch()
    (problem,) = release_problems(app, aroundtheworld_make_app="tests.web:make_app")
    assert "'tests', which aroundtheworld_app_exclude leaves out of the release" in problem


def test_a_link_that_leads_nowhere(app):
    (app / "logo.svg").symlink_to("gone.svg")
    (problem,) = release_problems(app)
    assert f"aroundtheworld_app_dir: '{app}/logo.svg' is a link to 'gone.svg'" in problem
    assert "aroundtheworld_app_exclude" in problem


A_PIN = "every line must name one exact version with '=='"
A_LINE = "allowed are lines like 'tornado==6.5 --hash=sha256:…'"
A_HASH = "every line needs its '--hash=sha256:…', as 'uv export' and"
A_WHEEL = "it has to be built. Type `pip wheel --no-deps --wheel-dir wheels '"


@pytest.mark.parametrize(
    ("line", "shown", "allowed"),
    [
        ("tornado==6.5.2", "'tornado==6.5.2'", A_HASH),
        ("tornado==6.5.2 --hash=md5:00", "'tornado==6.5.2'", A_HASH),
        ("tornado==6.5.2 --hash=sha256:00", "'tornado==6.5.2'", A_HASH),
        ("https://example.org/a-1-py3-none-any.whl", "'https://example.org/a-1-py3-no", A_HASH),
        (f"tornado {HASH}", "'tornado'", A_PIN),
        (f"tornado>=6.5 {HASH}", "'tornado>=6.5'", A_PIN),
        (f"tornado==6.* {HASH}", "'tornado==6.*'", A_PIN),
        (f"tornado==6.5.2,<7 {HASH}", "'tornado==6.5.2,<7'", A_PIN),
        (f"tornado===6.5.2 {HASH}", "'tornado===6.5.2'", A_PIN),
        (f"a @ https://example.org/a.tar.gz {HASH}", "'a @ https://exam", f"{A_WHEEL}a @ https"),
        (f"https://example.org/a.zip {HASH}", "'https://example.org/a.zip'", f"{A_WHEEL}https:"),
        ("git+https://example.org/a.git", "'git+https://example.org/a.git'", f"{A_WHEEL}git+http"),
        ("a @ git+https://example.org/a.git@v1", "git+https", f"{A_WHEEL}a @ git+https://example."),
        ("-e git+https://example.org/a.git#egg=a", "'-e git+", f"{A_WHEEL}git+https://example."),
        ("./libs/a", "'./libs/a'", f"{A_WHEEL}./libs/a'"),
        ("-e ./libs/a", "'-e ./libs/a'", f"{A_WHEEL}./libs/a'"),
        ("--editable=libs/a", "'--editable=libs/a'", A_LINE),
        ("a @ file:///srv/a", "'a @ file:///srv/a'", f"{A_WHEEL}a @ file:///srv/a'"),
        (f"b @ https://example.org/a-1-py3-none-any.whl {HASH}", "'b @ http", "of b, but of a"),
        ("-r other.txt", "'-r other.txt'", "there is no other.txt in "),
        ("-r ../other.txt", "'-r ../other.txt'", "it must be a file in "),
        ("-r https://example.org/other.txt", "'-r https", "it must be a file in "),
        ("-c other.txt", "'-c other.txt'", "leave it out, because each version is exact already"),
        ("--no-binary numpy", "'--no-binary numpy'", "hosts take wheels only. Leave it out to"),
        ("--find-links nowhere", "'--find-links nowhere'", "/nowhere on the controller"),
        ("--index-url", "'--index-url'", A_LINE),
        ("--indexurl https://example.org/", "'--indexurl https://example.org/'", A_LINE),
        (f"tornado==6.5.2 --sometimes {HASH}", "'tornado==6.5.2 --sometimes", A_LINE),
        (f"tornado==6.5.2 ; sometimes {HASH}", "'tornado==6.5.2 ; sometimes'", A_LINE),
        ("'tornado==6.5.2", '"\'tornado==6.5.2"', A_LINE),
        ("--index-url 'x", '"--index-url \'x"', A_LINE),
    ],
)
def test_a_line_that_no_lock_has(app, line, shown, allowed):
    lock = f"# made by uv\nalembic==1.0 \\\n    {HASH} \\\n    {HASH}\n    # via x\n{line}\n"
    (app / "requirements.txt").write_text(lock)
    (problem,) = release_problems(app)
    assert problem.startswith("aroundtheworld_requirements: requirements.txt, line 6 reads ")
    assert shown in problem
    assert allowed in problem


def test_a_line_that_goes_on_below_is_named_where_it_begins(app):
    lock = f"alembic==1.0 \\\n    {HASH}\n\n./tornado \\\n    {HASH}\n"
    (app / "requirements.txt").write_text(lock)
    (problem,) = release_problems(app)
    assert "line 4 reads './tornado'" in problem


def test_every_bad_line_is_reported_at_once(app):
    (app / "requirements.txt").write_text(f"a==1\nb>=2 {HASH}\nc==3 {HASH}\n-e ./d")
    assert len(release_problems(app)) == 3


@pytest.mark.parametrize(
    "line",
    [
        "-e git+https://ada:lovelace@example.org/a.git",
        "a @ https://ada:lovelace@example.org/a.tar.gz",
        "--indx-url https://ada:lovelace@example.org/simple",
        "-r https://ada:lovelace@example.org/other.txt",
        "https://ada:lovelace@example.org/a-1-py3-none-any.whl",
    ],
)
def test_a_password_in_a_line_is_not_shown(app, line):
    (app / "requirements.txt").write_text(f"{line}\n")
    (problem,) = release_problems(app)
    assert "example.org" in problem
    assert "lovelace" not in problem
