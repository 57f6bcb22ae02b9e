"""What other tools write into requirements files is taken: addresses, files, the app itself."""

import pytest

from aroundtheworld_controller.packages.lockfile import lock_for
from aroundtheworld_controller.packages.own_wheels import with_brought
from aroundtheworld_controller.packages.read_lock import read_lock
from aroundtheworld_controller.variables import BadInputError
from tests.role.host_python import HASHES, markers

HASH = f"--hash={HASHES[0]}"


@pytest.fixture
def read(tmp_path):
    """Reads lines as the lockfile of the app in tmp_path."""

    def run(*lines, name="requirements.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
        return read_lock(path, tmp_path)

    return run


def named(lock):
    return [f"{each['name']}=={each['version']}" for each in lock.requirements]


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("--index-url https://a/simple", ["--index-url", "https://a/simple"]),
        ("--index-url=https://a/simple", ["--index-url", "https://a/simple"]),
        ("-i https://a/simple", ["--index-url", "https://a/simple"]),
        ("--extra-index-url 'https://a/s'  # ours", ["--extra-index-url", "https://a/s"]),
        ("-f https://a/wheels.html", ["--find-links", "https://a/wheels.html"]),
        ("--trusted-host a:8080", ["--trusted-host", "a:8080"]),
        ("--no-index -f https://a/", ["--no-index", "", "--find-links", "https://a/"]),
        ("-i https://${USER_}:${TOKEN}@a/s", ["--index-url", "https://${USER_}:x@a/s"]),
        ("--index-url https://pypi.org/simple", []),
        ("--pre", []),
        ("--only-binary :all:", []),
        ("--no-binary :none:", []),
        ("--prefer-binary --require-hashes", []),
        ("--use-feature=fast-deps", []),
        ("-e .", []),
        (".", []),
        ("-e .[dev]", []),
        ("--editable=./", []),
        ("-e file:///${PROJECT_ROOT}#egg=shop", []),
        ("shop @ file://${PROJECT_ROOT}", []),
    ],
)
def test_an_option_says_where_wheels_are_or_changes_nothing(read, monkeypatch, line, options):
    monkeypatch.setenv("TOKEN", "x")
    lock = read(line, f"a==1 {HASH}")
    assert lock.options == options
    assert named(lock) == ["a==1"]


def test_the_app_itself_is_meant_by_its_path_too(read, tmp_path):
    assert named(read(f"-e {tmp_path}", f"-e file://{tmp_path}", f"a==1 {HASH}")) == ["a==1"]
    assert named(read("-e ..", f"a==1 {HASH}", name="deploy/lock.txt")) == ["a==1"]
    assert named(read("-e .", f"a==1 {HASH}", name="deploy/lock.txt")) == ["a==1"]


def test_wheels_beside_the_lockfile_are_found_from_there(read, tmp_path):
    (tmp_path / "deploy" / "wheels").mkdir(parents=True)
    lock = read("--find-links wheels", name="deploy/lock.txt")
    assert lock.options == ["--find-links", str(tmp_path / "deploy/wheels")]
    assert lock.places == [tmp_path / "deploy/wheels"]


@pytest.mark.parametrize(
    ("line", "link"),
    [
        ("https://a/x_y-1.0-py3-none-any.whl {}", "https://a/x_y-1.0-py3-none-any.whl"),
        ("x.y @ https://a/x_y-1.0-py3-none-any.whl {}", "https://a/x_y-1.0-py3-none-any.whl"),
        ("https://a/x_y-1.0-py3-none-any.whl#{fragment}", "https://a/x_y-1.0-py3-none-any.whl"),
        ("./w/x_y-1.0-py3-none-any.whl {}", "file://{root}/w/x_y-1.0-py3-none-any.whl"),
        ("file:///w/x_y-1.0-py3-none-any.whl {}", "file:///w/x_y-1.0-py3-none-any.whl"),
        ("x-y @ file://${{PROJECT_ROOT}}/x_y-1.0-py3-none-any.whl {}",
         "file://{root}/x_y-1.0-py3-none-any.whl"),
    ],
)  # fmt: skip
def test_a_wheel_by_its_address_is_a_version_like_any_other(read, tmp_path, line, link):
    lock = read(line.format(HASH, fragment=HASHES[0].replace(":", "=")))
    assert lock.links == [link.format(root=tmp_path)]
    (requirement,) = lock.requirements
    assert requirement == {"name": "x-y", "version": "1.0", "marker": "", "hashes": HASHES[:1]}


def test_a_file_that_the_lockfile_names_is_read_with_it(read, tmp_path):
    (tmp_path / "base.txt").write_text(f"b==2 {HASH}\n-r requirements.txt\n--find-links deps\n")
    (tmp_path / "deps").mkdir()
    lock = read("-r base.txt", f"a==1 {HASH}")
    assert named(lock) == ["b==2", "a==1"]
    assert lock.options == ["--find-links", str(tmp_path / "deps")]
    assert [path.name for path in lock.files] == ["requirements.txt", "base.txt"]
    (tmp_path / "base.txt").write_text("\nb==2\n")
    with pytest.raises(BadInputError, match=r"base\.txt, line 2 reads 'b==2'; every line needs"):
        with_brought(read("-r base.txt", "-r base.txt"), "")


@pytest.mark.parametrize("line", ["/etc/passwd", "../requirements.txt", "a/../../x.txt"])
def test_a_lockfile_does_not_lead_out_of_the_app(read, tmp_path, line):
    with pytest.raises(BadInputError, match="it must be a file in "):
        with_brought(read(f"-r {line}"), "")


def test_what_would_be_refused_matters_only_to_a_host_that_it_is_for(read):
    windows = "a @ git+https://example.org/a.git ; sys_platform == 'win32'"
    lock = with_brought(read(windows, "b ; python_version >= '3.13'", f"c==1 {HASH}"), "")
    assert named(lock) == ["c==1"]
    assert list(lock.problems_for(markers("3.11"))) == []
    (problem,) = lock.problems_for(markers("3.13"))
    assert "line 2 reads" in problem
    assert "every line must name one exact version" in problem
    (problem,) = lock.problems_for(markers("3.11") | {"sys_platform": "win32"})
    assert "it has to be built" in problem


@pytest.mark.parametrize(
    "line",
    [
        "shop.kit @ git+https://example.org/a.git@v1",
        "git+https://example.org/shop_kit.git@v1",
        "-e git+ssh://git@example.org/a.git@v1#egg=Shop-Kit&subdirectory=x",
        "https://example.org/shop-kit-1.0.tar.gz?a=b",
        "-e ./libs/kit",
        "./shop-kit[extra]",
    ],
)
def test_a_wheel_of_the_operators_stands_for_what_has_to_be_built(read, tmp_path, line):
    (tmp_path / "libs" / "kit").mkdir(parents=True)
    (tmp_path / "libs" / "kit" / "pyproject.toml").write_text('[project]\nname = "Shop.Kit"\n')
    with pytest.raises(BadInputError, match="and name that directory in aroundtheworld_wheels"):
        with_brought(read(line), str(tmp_path / "wheels"))
    for name in ("shop_kit-1.2-py3-none-any", "shop_kit-1.2-cp311-abi3-any", "b-1-py3-none-any"):
        (tmp_path / "wheels").mkdir(exist_ok=True)
        (tmp_path / "wheels" / f"{name}.whl").write_text(name)
    lock = with_brought(read(line, f"c==1 {HASH}"), str(tmp_path / "wheels"))
    assert named(lock) == ["c==1", "shop-kit==1.2"]
    assert len(lock.requirements[1]["hashes"]) == 2


def test_a_package_with_and_without_extras_is_one(read):
    lock = read(f"Uvicorn==1 {HASH}", f"uvicorn[standard]==1.0 --hash={HASHES[1]}")
    assert lock_for(lock.requirements, markers("3.11")) == f"Uvicorn==1 {HASH} --hash={HASHES[1]}\n"


def test_two_versions_are_for_two_pythons_or_refused(read):
    lock = read(f"a==1 ; python_version < '3.12' {HASH}", f"a==2 ; python_version > '3.11' {HASH}")
    assert lock_for(lock.requirements, markers("3.11")) == f"a==1 {HASH}\n"
    assert lock_for(lock.requirements, markers("3.13")) == f"a==2 {HASH}\n"
    lock = read(f"a==1 {HASH}", f"A==2 {HASH}")
    with pytest.raises(BadInputError, match="A is locked as 1 and as 2, and both are for Python 3"):
        lock_for(lock.requirements, markers("3.11"))


def test_a_marker_about_extras_is_decided_without_any(read):
    lock = read(f"a==1 ; extra == 'x' {HASH}", f"b==1 {HASH}")
    assert lock_for(lock.requirements, markers("3.11")) == f"b==1 {HASH}\n"
