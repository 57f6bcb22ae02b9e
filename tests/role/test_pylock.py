"""A lockfile as PEP 751 has it is read like pip's: versions, markers, hashes, addresses."""

import pytest

from aroundtheworld_controller.packages.lockfile import lock_for
from aroundtheworld_controller.packages.read_lock import read_lock
from aroundtheworld_controller.variables import BadInputError
from tests.role.host_python import HASHES, markers

DIGESTS = [digest.removeprefix("sha256:") for digest in HASHES]
WHEEL = f'{{name = "a-1.0-py3-none-any.whl", url = "URL", hashes = {{sha256 = "{DIGESTS[0]}"}}}}'
SDIST = f'{{name = "a-1.0.tar.gz", url = "URL", hashes = {{sha256 = "{DIGESTS[1]}"}}}}'
PYPI = "https://files.pythonhosted.org/packages"


@pytest.fixture
def read(tmp_path):
    """Reads packages as the lockfile of the app in tmp_path."""

    def run(packages, top="", name="pylock.toml"):
        path = tmp_path / name
        path.write_text(f'lock-version = "1.0"\ncreated-by = "x"\n{top}\n{packages}\n')
        return read_lock(path, tmp_path)

    return run


def package(*lines, name="a", version="1.0", wheels=WHEEL, url=f"{PYPI}/x", sdist=""):
    files = [f"wheels = [{wheels}]"] * bool(wheels) + [f"sdist = {sdist}"] * bool(sdist)
    pinned = [f'version = "{version}"'] * bool(version)
    text = "\n".join(["[[packages]]", f'name = "{name}"', *pinned, *lines, *files, ""])
    return text.replace("URL", url)


def test_a_package_has_the_hashes_of_its_wheels_and_its_source(read):
    lock = read(package(sdist=SDIST, wheels=f"{WHEEL}, {WHEEL}"))
    assert lock.requirements == [{"name": "a", "version": "1.0", "marker": "", "hashes": HASHES}]
    assert (lock.options, lock.links, lock.pythons) == ([], [], [])
    assert read(package(version="")).requirements[0]["version"] == "1.0"


def test_what_has_a_source_only_is_left_to_what_may_build_it(read):
    (requirement,) = read(package(wheels="", sdist=SDIST)).requirements
    assert requirement["hashes"] == HASHES[1:]


def test_a_strong_hash_is_taken_and_a_weak_one_is_none(read):
    strong = WHEEL.replace(DIGESTS[0], "A" * 128).replace("sha256", "md5 = 'x', sha512")
    assert read(package(wheels=strong)).requirements[0]["hashes"] == ["sha512:" + "a" * 128]
    ((marker, problem),) = read(package(wheels=WHEEL.replace("sha256", "md5"))).refused
    assert marker == ""
    assert "pylock.toml has a with no hash that pip takes; allowed are sha256" in problem


@pytest.mark.parametrize(
    ("indexes", "options"),
    [
        ([], []),
        (["https://pypi.org/simple"], []),
        (["https://pypi.org/simple/", "https://a/s"], ["--extra-index-url", "https://a/s"]),
        (["https://a/s", "https://a/s/"], ["--index-url", "https://a/s"]),
    ],
)
def test_indexes_are_asked_where_packages_come_from_them(read, indexes, options):
    packages = [package(f'index = "{index}"', url="https://a/x") for index in indexes]
    lock = read("".join(packages) or package())
    assert (lock.options, lock.links) == (options, [])


def test_files_that_no_index_has_are_found_by_their_addresses(read, tmp_path):
    assert read(package(url="https://a/x.whl")).links == ["https://a/x.whl"]
    beside = WHEEL.replace('url = "URL"', 'path = "w/a-1.0-py3-none-any.whl"')
    lock = read(package(wheels=beside), name="pylock.web.toml")
    assert lock.places == [tmp_path / "w" / "a-1.0-py3-none-any.whl"]
    assert lock.links == [lock.places[0].as_uri()]
    archive = f"archive = {WHEEL.replace('URL', 'https://a/a-1.0-py3-none-any.whl')}"
    lock = read(package(archive, wheels="", version=""))
    assert lock.links == ["https://a/a-1.0-py3-none-any.whl"]
    assert lock.requirements[0]["version"] == "1.0"


@pytest.mark.parametrize(
    ("marker", "taken"),
    [
        ("sys_platform == 'linux'", True),
        ("sys_platform == 'win32'", False),
        ("'web' in extras", False),
        ("'web' not in extras and python_version > '3'", True),
        ("'default' in dependency_groups", True),
        ("'dev' in dependency_groups or python_version < '3.12'", True),
        ("('dev' in dependency_groups) and python_version < '3.12'", False),
    ],
)
def test_markers_are_decided_for_the_default_of_the_lockfile(read, marker, taken):
    lock = read(package(f'marker = "{marker}"'), top="default-groups = ['default']")
    assert bool(lock_for(lock.requirements, markers("3.11"))) is taken


def test_a_lockfile_for_other_machines_is_refused(read):
    lock = read(package(), top="environments = [\"sys_platform == 'linux'\", \"os_name == 'nt'\"]")
    assert list(lock.problems_for(markers("3.11"))) == []
    lock = read(package(), top="environments = [\"python_version >= '3.12'\"]")
    assert list(lock.problems_for(markers("3.13"))) == []
    (problem,) = lock.problems_for(markers("3.11"))
    assert 'pylock.toml is for python_version >= "3.12", and the host has Python 3.11.2' in problem


def test_the_app_itself_is_no_requirement(read):
    own = package('directory = {path = ".", editable = true}', name="shop", wheels="", version="")
    assert [each["name"] for each in read(own + package()).requirements] == ["a"]


@pytest.mark.parametrize(
    ("source", "built"),
    [
        ('vcs = {type = "git", url = "https://u:secret@h/a.git", commit-id = "12ab"}',
         "a @ git+https://h/a.git@12ab'"),
        ('directory = {path = "libs/a"}', "libs/a'"),
        ('archive = {url = "https://h/a-1.0.tar.gz", hashes = {}}', "a @ https://h/a-1.0.tar.gz'"),
    ],
)  # fmt: skip
def test_what_has_to_be_built_is_refused_with_what_to_type(read, source, built):
    for_windows = "marker = \"sys_platform == 'win32'\""
    (unbuilt,) = read(package(source, for_windows, wheels="")).unbuilt
    assert (unbuilt["name"], unbuilt["marker"]) == ("a", 'sys_platform == "win32"')
    assert f"Type `pip wheel --no-deps --wheel-dir wheels '{built}" in unbuilt["problem"]
    assert "secret" not in unbuilt["problem"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("x = ", "is no TOML"),
        ("", "is not as PEP 751 has it: 'lock-version' is missing"),
        ('lock-version = "2.0"', "its lock-version is '2.0', and not 1.0"),
        ('lock-version = "1.0"', "'packages' is missing"),
        ('lock-version = "1.0"\npackages = 1', "is not as PEP 751 has it"),
        ('lock-version = "1.0"\n[[packages]]\nname = "a"', "a has no files"),
        (f'lock-version = "1.0"\n{package(version="x y")}', "Invalid version"),
        (f'lock-version = "1.0"\n{package("marker = 1")}', "'1' is no marker"),
    ],
)
def test_what_is_no_such_file_is_refused_in_a_sentence(tmp_path, content, problem):
    (tmp_path / "pylock.toml").write_text(content)
    with pytest.raises(BadInputError) as caught:
        read_lock(tmp_path / "pylock.toml", tmp_path)
    assert str(caught.value).startswith("aroundtheworld_requirements: pylock.toml in ")
    assert problem in str(caught.value)
