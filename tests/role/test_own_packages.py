"""Packages that do not come as wheels from an index: what is built, and what one brings."""

import hashlib
import shutil
import zipfile

import pytest
from ansible.errors import AnsibleActionFail

from aroundtheworld_controller.packages import own_packages, wheels
from aroundtheworld_controller.packages.index import Indexes
from aroundtheworld_controller.packages.own_packages import build_problems, with_own
from aroundtheworld_controller.packages.own_wheels import chosen, host_tags, own_wheels
from aroundtheworld_controller.packages.wheels import fetch_wheels, host_lock, platforms, without
from aroundtheworld_controller.variables import BadInputError
from tests.role.host_python import HASHES, PYTHON
from tests.role.packages import PYPROJECT, source_archive, toolbox

REQUIREMENTS = [
    {"name": "docopt", "version": "0.6.2", "marker": "", "hashes": HASHES[:1]},
    {"name": "Derp.Conf", "version": "1.0", "marker": "", "hashes": HASHES[:1]},
]
LOCK = f"Derp.Conf==1.0 --hash={HASHES[0]}\ndocopt==0.6.2 --hash={HASHES[0]}\n"
ENVIRONMENT = {"id": "ba9876543210", "lock": LOCK}


def wheel(directory, name, content="x"):
    directory.mkdir(exist_ok=True)
    with zipfile.ZipFile(directory / name, "w") as archive:
        archive.writestr("x.py", content)
    return directory / name


@pytest.fixture
def brought(tmp_path):
    """A directory with a wheel of one's own."""
    wheel(tmp_path / "wheels", "docopt-0.6.2-py3-none-any.whl")
    (tmp_path / "wheels" / ".DS_Store").touch()
    return tmp_path / "wheels"


def problems(directory):
    with pytest.raises(BadInputError) as refused:
        own_wheels(str(directory), REQUIREMENTS)
    return refused.value.problems


def test_without_a_directory_nothing_is_brought():
    assert own_wheels("", REQUIREMENTS) == []


def test_wheels_of_locked_packages_are_taken(brought):
    (own,) = own_wheels(str(brought), REQUIREMENTS)
    digest = hashlib.sha256(own.path.read_bytes()).hexdigest()
    assert (own.name, own.digest) == ("docopt", f"sha256:{digest}")


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    (problem,) = problems(tmp_path / "nowhere")
    assert problem.startswith(f"aroundtheworld_wheels: '{tmp_path}/nowhere' is not a directory on")


def test_what_is_no_wheel_of_a_locked_version_is_refused_all_at_once(brought):
    wheel(brought, "docpt-0.6.2-py3-none-any.whl")
    wheel(brought, "docopt-0.7-py3-none-any.whl")
    wheel(brought, "strange-1.0-py3-none-any.whl")
    wheel(brought, "docopt.whl")
    (brought / "derp_conf-1.0-py3-none-any.whl").write_text("<html>404</html>")
    (brought / "docopt-0.6.2.tar.gz").touch()
    (brought / "directory").mkdir()
    found = {text.split("'")[1]: text.partition("' ")[2] for text in problems(brought)}
    assert found["docpt-0.6.2-py3-none-any.whl"].endswith("did you mean docopt?")
    assert "is of strange, which is not among" in found["strange-1.0-py3-none-any.whl"]
    assert found["docopt-0.7-py3-none-any.whl"].startswith(
        "is of version 0.7, but the lock has docopt 0.6.2;"
    )
    no_wheel = {name for name, text in found.items() if text.startswith("is no wheel; the direc")}
    assert no_wheel == {
        "docopt.whl",
        "derp_conf-1.0-py3-none-any.whl",
        "docopt-0.6.2.tar.gz",
        "directory",
    }


def test_a_wheel_is_held_to_the_lock_where_that_has_hashes_of_wheels(brought):
    (own,) = own_wheels(str(brought), REQUIREMENTS)
    with pytest.raises(BadInputError) as refused:
        own_wheels(str(brought), [{**REQUIREMENTS[0], "hashes": HASHES}])
    (problem,) = refused.value.problems
    assert "'docopt-0.6.2-py3-none-any.whl' has none of the 2 hashes that the lock has" in problem
    assert f"lock it again with `uv pip compile --find-links {brought} …`" in problem
    assert own_wheels(str(brought), [{**REQUIREMENTS[0], "hashes": [*HASHES, own.digest]}]) == [own]


def test_each_host_gets_the_best_wheel_for_its_own_python(brought):
    for tags in ("cp311-cp311-linux_x86_64", "cp313-cp313-linux_x86_64", "cp311-abi3-any"):
        wheel(brought, f"docopt-0.6.2-{tags}.whl")

    def best(version, machine="x86_64"):
        python = {**PYTHON, "version": version, "machine": machine}
        own = own_wheels(str(brought), REQUIREMENTS)
        return [
            found.path.name[13:-4] for found in chosen(own, host_tags(python, platforms(python)))
        ]

    assert best("3.11") == ["cp311-cp311-linux_x86_64"]
    assert best("3.13") == ["cp313-cp313-linux_x86_64"]
    assert best("3.13", "aarch64") == ["py3-none-any"]
    (brought / "docopt-0.6.2-py3-none-any.whl").unlink()
    assert best("3.13", "aarch64") == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("docpt", "[0]: 'docpt' is not among the locked requirements; did you mean docopt?"),
        ("strange", "[0]: 'strange' is not among the locked requirements."),
        ("Docopt", "[0]: 'Docopt' is also in aroundtheworld_wheels, as 'docopt-0.6.2-py3"),
    ],
)
def test_a_name_that_nothing_can_be_built_of_is_refused(brought, name, says):
    own = own_wheels(str(brought), REQUIREMENTS)
    (problem,) = build_problems([name], REQUIREMENTS, own, "")
    assert f"aroundtheworld_build{says}" in problem


def test_the_apps_own_project_is_named_beside_the_requirements():
    (problem,) = build_problems(["shopp"], REQUIREMENTS, [], "shop")
    assert problem.endswith(
        "is not among the locked requirements, nor the app's own project, which is 'shop'; "
        "did you mean shop?"
    )


def test_names_are_compared_as_pip_compares_them():
    assert (
        list(build_problems(["DERP_conf", "docopt", "My.Shop"], REQUIREMENTS, [], "my-shop")) == []
    )


def test_without_packages_of_ones_own_the_environment_is_what_it_was():
    assert with_own(ENVIRONMENT, [], [])["id"] == ENVIRONMENT["id"]
    # A name that is locked for other hosts only.
    assert with_own(ENVIRONMENT, ["windows-only"], [])["id"] == ENVIRONMENT["id"]


def test_the_id_comes_from_sources_and_tools_and_own_wheels(brought, monkeypatch):
    def own():
        return own_wheels(str(brought), REQUIREMENTS)

    built = with_own(ENVIRONMENT, ["docopt"], [])
    assert built == with_own(ENVIRONMENT, ["DOCOPT", "docopt"], [])
    assert built["built"] == ["docopt"]
    ids = [ENVIRONMENT["id"], built["id"], with_own(ENVIRONMENT, ["docopt", "derp-conf"], [])["id"]]
    ids.append(with_own(ENVIRONMENT, [], own())["id"])
    wheel(brought, "docopt-0.6.2-py3-none-any.whl", "other content")
    ids.append(with_own(ENVIRONMENT, [], own())["id"])
    monkeypatch.setattr(own_packages, "tools_id", lambda: "other tools")
    ids.append(with_own(ENVIRONMENT, ["docopt"], [])["id"])
    assert len(set(ids)) == 6


def test_a_wheel_that_the_lock_has_a_hash_of_makes_no_other_environment(brought):
    own = own_wheels(str(brought), REQUIREMENTS)
    lock = LOCK.replace(
        f"docopt==0.6.2 --hash={HASHES[0]}", f"docopt==0.6.2 --hash={own[0].digest}"
    )
    found = with_own({**ENVIRONMENT, "lock": lock}, [], own)
    assert found["id"] == ENVIRONMENT["id"]
    assert list(found["own"]) == ["docopt"]


@pytest.fixture
def controller(tmp_path, monkeypatch):
    """A controller whose indexes are directories, and which has a tiny build backend."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setattr(wheels, "find_pip", lambda: ["pip"])
    monkeypatch.setattr(wheels, "indexes", lambda *_: Indexes([], [str(links)]))
    tools = toolbox(tmp_path / "tools")
    monkeypatch.setattr(own_packages, "toolbox", lambda cache: tools)
    return links


def derpconf(links, made="Derp_Conf-1.0-py3-none-any.whl"):
    files = {"pyproject.toml": PYPROJECT, "wheel.txt": made}
    return source_archive(links / "derp_conf-1.0.tar.gz", files)


def test_what_is_built_and_brought_is_what_the_host_installs(
    controller, brought, tmp_path, monkeypatch
):
    lock = LOCK.replace(HASHES[0], derpconf(controller), 1)
    own = own_wheels(str(brought), REQUIREMENTS)
    environment = with_own({**ENVIRONMENT, "lock": lock}, ["derp-conf"], own)
    fetched = fetch_wheels(environment, PYTHON, tmp_path / "cache")
    digests = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in fetched.iterdir()
    }
    assert set(digests) == {"Derp_Conf-1.0-py3-none-any.whl", "docopt-0.6.2-py3-none-any.whl"}
    assert host_lock(environment, fetched).splitlines() == [
        f"derp-conf==1.0 --hash=sha256:{digests['Derp_Conf-1.0-py3-none-any.whl']}",
        f"docopt==0.6.2 --hash=sha256:{digests['docopt-0.6.2-py3-none-any.whl']}",
    ]
    # Another environment with the same package does not build it again.
    (controller / "derp_conf-1.0.tar.gz").unlink()
    assert fetch_wheels({**environment, "id": "other"}, PYTHON, tmp_path / "cache").is_dir()
    # With other tools it does.
    monkeypatch.setattr(own_packages, "tools_id", lambda: "other tools")
    with pytest.raises(AnsibleActionFail, match="there is no source archive of version 1"):
        fetch_wheels({**environment, "id": "third"}, PYTHON, tmp_path / "cache")


def test_a_lock_of_wheels_alone_goes_to_the_host_as_it_is(tmp_path):
    assert host_lock(with_own(ENVIRONMENT, [], []), tmp_path) == LOCK
    assert without(LOCK, {"derp-conf"}) == LOCK.splitlines(keepends=True)[1]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ("Derp_Conf-1.0-cp311-cp311-linux_x86_64.whl", "for one kind of machine only"),
        ("Derp_Conf-1.0-py2-none-any.whl", "which is not for Python 3.11"),
    ],
)
def test_a_wheel_that_is_not_for_every_host_is_refused(controller, tmp_path, made, says):
    lock = f"Derp.Conf==1.0 --hash={derpconf(controller, made)}\n"
    environment = with_own({"id": "x", "lock": lock}, ["derp-conf"], [])
    with pytest.raises(AnsibleActionFail) as failed:
        fetch_wheels(environment, PYTHON, tmp_path / "cache")
    message = str(failed.value)
    assert message.startswith("aroundtheworld_build: derp-conf cannot be built on the controller: ")
    assert says in message
    assert message.endswith(
        "put a wheel of it into a directory and name that in aroundtheworld_wheels."
    )


def test_another_source_than_the_locked_one_is_not_built(controller, tmp_path, monkeypatch):
    derpconf(controller)
    monkeypatch.setattr(own_packages, "build", lambda *_: pytest.fail("it was built"))
    environment = with_own({"id": "x", "lock": LOCK.splitlines()[0] + "\n"}, ["derp-conf"], [])
    with pytest.raises(AnsibleActionFail, match="the lock has no hash of its source archive"):
        fetch_wheels(environment, PYTHON, tmp_path / "cache")


@pytest.mark.parametrize("change", [shutil.rmtree, lambda directory: wheel(
    directory, "docopt-0.6.2-py3-none-any.whl", "changed")])  # fmt: skip
def test_a_wheel_that_changed_since_the_plan_is_refused(controller, brought, tmp_path, change):
    own = own_wheels(str(brought), REQUIREMENTS)
    environment = with_own({"id": "x", "lock": LOCK.splitlines()[1] + "\n"}, [], own)
    change(brought)
    with pytest.raises(AnsibleActionFail, match=r"aroundtheworld_wheels: .*docopt-0"):
        fetch_wheels(environment, PYTHON, tmp_path / "cache")


def test_packages_without_a_wheel_are_named_with_the_way_out(controller, monkeypatch, tmp_path):
    for name in ("derp_conf-1.0.tar.gz", "docopt-0.6.2.zip", "docopt-0.6.2-cp39-cp39-win32.whl"):
        (controller / name).touch()
    done = type("Done", (), {"returncode": 1, "stderr": "ERROR: No matching distribution found"})
    monkeypatch.setattr(wheels, "run_pip", lambda *_: done)
    with pytest.raises(AnsibleActionFail) as failed:
        fetch_wheels(with_own(ENVIRONMENT, [], []), PYTHON, tmp_path / "cache")
    source, other = str(failed.value).splitlines()
    assert "of derp-conf 1.0 there is no wheel, only a source archive" in source
    assert "`aroundtheworld_build: [derp-conf]` has the controller build" in source
    assert "of docopt 0.6.2 there are wheels, but none for Python 3.11 on x86_64" in other
    assert "aroundtheworld_wheels" in other
