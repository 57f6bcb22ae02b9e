"""A verb happens when the operator names it, from a play of their own too, and never by a tag."""

import pytest

TAGGED = """\
- hosts: aroundtheworld
  gather_facts: false
  become: true
  roles:
    - {role: aroundtheworld, tags: [web]}
"""
IMPORTED = """\
- import_playbook: {checkout}/site.yml
  tags: [web]
"""
VERB = """\
- hosts: aroundtheworld
  gather_facts: false
  become: true
  tasks:
    - include_role:
        name: aroundtheworld
        tasks_from: "{{ verb }}"
"""
# With another site beside the first, which is as the inventory has it.
LOOP = (
    VERB
    + """\
      loop: [aroundtheworld, shop]
      loop_control:
        loop_var: aroundtheworld_site
      vars:
        number: "{{ ['aroundtheworld', 'shop'].index(aroundtheworld_site) }}"
        first_port: "{{ 10001 + 100 * number | int }}"
        aroundtheworld_user: "{{ ['tornado', 'shopkeeper'][number | int] }}"
        aroundtheworld_server_names: ["{{ ['site', 'shop'][number | int] }}.example.org"]
        aroundtheworld_metrics_port: "{{ [9145, 0][number | int] | int }}"
        aroundtheworld_pools:
          - name: public
            ports: ["{{ first_port | int }}", "{{ first_port | int + 1 }}"]
            paths: [/]
            drain_timeout: 10
          - {name: admin, ports: ["{{ first_port | int + 3 }}"], paths: [/admin], blocking: true}
"""
)
SHOP, EDITION = "shop.example.org", "edition first\n"


@pytest.fixture(scope="module")
def current(host):
    return lambda: host.check_output("readlink /var/lib/tornado/aroundtheworld/current")


@pytest.mark.once
@pytest.mark.parametrize("tags", ["web", "all", "tagged", "all,never"])
def test_a_tag_of_the_operators_only_deploys(tags, play, ansible_playbook, ask, current):
    before = current()
    run = ansible_playbook("--tags", tags, playbook=play(TAGGED))
    assert (run.returncode, run.changed) == (0, 0)
    assert (ask("/").status, current()) == (200, before)


@pytest.mark.once
@pytest.mark.parametrize("tags", ["web", "all,never"])
def test_so_does_a_tag_on_the_projects_playbook(
    tags, play, ansible_playbook, ask, current, request
):
    before = current()
    text = IMPORTED.replace("{checkout}", str(request.config.rootpath))
    run = ansible_playbook("--tags", tags, playbook=play(text))
    assert (run.returncode, run.changed) == (0, 0)
    assert (ask("/").status, current()) == (200, before)


@pytest.mark.once
def test_a_removal_together_with_something_else_is_refused(ansible_playbook, ask):
    run = ansible_playbook("--tags", "remove,status")
    assert run.returncode != 0
    assert run.changed == 0
    assert ask("/").status == 200


def test_an_operators_play_closes_and_opens_the_site(play, ansible_playbook, ask):
    playbook = play(VERB)
    assert ansible_playbook("-everb=maintenance_on", playbook=playbook).returncode == 0
    assert (ask("/").status, ask("/admin").status) == (503, 200)
    assert ansible_playbook("-everb=maintenance_off", playbook=playbook).returncode == 0
    assert ask("/").status == 200


@pytest.fixture(scope="module")
def without_shop(play, ansible_playbook):
    """Return a function that removes the second site again; it is called at the end, too."""
    playbook = play(LOOP.replace("[aroundtheworld, shop]", "[shop]"))
    arguments = ("-everb=remove", "-earoundtheworld_remove_data=true")

    def remove():
        assert ansible_playbook(*arguments, playbook=playbook).returncode == 0

    yield remove
    remove()


@pytest.fixture
def two_sites(play, ansible_playbook, ask, without_shop):
    """Have both sites on the host; return the playbook that is for both."""
    playbook = play(LOOP)
    if ask("/", SHOP).text != EDITION:
        assert ansible_playbook("-everb=main", playbook=playbook).returncode == 0
    return playbook


def test_two_sites_in_a_loop_are_deployed_and_not_again(two_sites, ansible_playbook, ask):
    assert (ask("/").text, ask("/", SHOP).text) == (EDITION, EDITION)
    run = ansible_playbook("-everb=main", playbook=two_sites)
    assert (run.returncode, run.changed) == (0, 0)


def test_verbs_in_a_loop_are_for_each_site(two_sites, ansible_playbook, ask):
    assert ansible_playbook("-everb=maintenance_on", playbook=two_sites).returncode == 0
    assert (ask("/").status, ask("/", SHOP).status) == (503, 503)
    assert ansible_playbook("-everb=maintenance_off", playbook=two_sites).returncode == 0
    assert (ask("/").text, ask("/", SHOP).text) == (EDITION, EDITION)


def test_one_of_the_sites_goes_and_nobody_else(two_sites, without_shop, ask, neighbours_are_well):
    without_shop()
    assert ask("/", SHOP).text != EDITION
    assert ask("/").text == EDITION
    neighbours_are_well()
