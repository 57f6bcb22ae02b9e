"""Which tags of the project's playbook are refused."""

import pytest

from aroundtheworld_controller.tags import VERBS, tag_problems
from tests.role_files import ROLE, load_yaml


@pytest.mark.parametrize("tags", [["all"], ["untagged"], ["all", "never"], *[[v] for v in VERBS]])
def test_what_names_something_to_do_is_right(tags):
    assert list(tag_problems(tags, alone=True)) == []


@pytest.mark.parametrize("tags", [["web"], ["tagged"], ["never"], ["web", "status"], ["statis"]])
def test_in_a_playbook_of_the_operators_tags_may_name_what_we_do_not_know(tags):
    assert list(tag_problems(tags, alone=False)) == []


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        (["maintenence_on"], "there is no tag 'maintenence_on'; did you mean maintenance_on?"),
        (["web"], "there is no tag 'web'; there are: maintenance_on, maintenance_off, rollback"),
        (["tagged"], "tagged names nothing to do; without --tags the site is deployed."),
        (["always", "never"], "always, never names nothing to do"),
    ],
)
def test_a_run_that_would_do_nothing_is_not_green(tags, sentence):
    assert sentence in "\n".join(tag_problems(tags, alone=True))


@pytest.mark.parametrize("alone", [True, False])
def test_what_excludes_each_other_is_refused(alone):
    for others in (["status"], ["web"], ["all"], ["tagged", "rollback"]):
        (first, *_) = tag_problems(["remove", *others], alone=alone)
        assert first.startswith("--tags: remove together with ")
    assert list(tag_problems(["maintenance_on", "maintenance_off"], alone=alone))
    assert list(tag_problems(["lock", "unlock"], alone=alone))
    assert list(tag_problems(["rollback", "all"], alone=alone))
    assert list(tag_problems(["rollback", "status"], alone=alone)) == []


def test_each_verb_is_an_entry_point_of_its_own_and_the_role_knows_no_tags():
    for path in (ROLE / "tasks").glob("*.yml"):
        for line in path.read_text().splitlines():
            assert "tags:" not in line or line.strip().startswith("tags: [always]"), path
    (play,) = load_yaml("../../playbooks/site.yml")
    first, deployment, others = play["tasks"]
    assert first["ansible.builtin.import_role"]["tasks_from"] == "invoked"
    assert first["tags"] == ["always"]
    assert deployment["ansible.builtin.import_role"] == {"name": "aroundtheworld"}
    assert "tags" not in deployment
    assert others["tags"] == ["never", *VERBS]
    # By the tags that were named, and not by those that some play gave to all of its tasks.
    assert others["loop"] == "{{ __aroundtheworld_invoked.verbs }}"
    assert all((ROLE / "tasks" / f"{verb}.yml").is_file() for verb in VERBS)
