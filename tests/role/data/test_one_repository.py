"""Sites and hosts that share a repository, with a real restic: each knows its own backups alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible.module_utils.aroundtheworld.data.chosen import choose
from ansible.module_utils.aroundtheworld.data.restic import Restic
from ansible.module_utils.aroundtheworld.systemd import HostError

from tests.role.data.quick_key import quicken

PASSWORD = "a very long password"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("repository")
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    restic = Restic(str(tmp_path / "backups"), tmp_path / "password", tmp_path / "cache")
    restic.make()
    quicken(tmp_path / "backups", PASSWORD)
    return restic


@pytest.fixture(scope="module")
def back_up(repository, tmp_path_factory):
    """Returns a function that backs a site of a host up, and returns the snapshot's id."""
    tmp_path = tmp_path_factory.mktemp("hosts")

    def run(site, host, text):
        home = tmp_path / host / site
        home.mkdir(parents=True, exist_ok=True)
        (home / "word").write_text(text)
        return repository.backup(site, host, [home], [], lambda: None).id

    return run


def last(repository, site, host):
    """The text in the last backup of a site, as its host finds it."""
    snapshot = choose(repository.snapshots(), site, host, "")
    word = f"{snapshot['paths'][0]}/word"
    return repository._output("dump", snapshot["id"], word)


def test_three_sites_share_a_repository_and_one_of_them_has_moved(repository, back_up):
    back_up("shop", "www1", "shop before it moved")
    back_up("shop2", "www1", "shop2")
    back_up("blog", "www1", "blog")
    # The moved site begins with what its old host had.
    assert last(repository, "shop", "www2") == "shop before it moved"
    back_up("shop", "www2", "shop after it moved")
    back_up("blog", "www1", "blog again")
    assert last(repository, "shop", "www2") == "shop after it moved"
    assert last(repository, "shop", "www1") == "shop before it moved"
    assert last(repository, "shop2", "www1") == "shop2"
    assert last(repository, "blog", "www1") == "blog again"
    with pytest.raises(HostError, match=r"some of www1, www2\. Say which one by its id"):
        choose(repository.snapshots(), "shop", "www3", "")


def test_no_retention_removes_what_another_site_or_host_has(repository, back_up):
    others = {
        back_up(site, host, "word")[:8]
        for site, host in (("cart", "www1"), ("cart2", "www2"), ("cart", "www2"))
    }
    stays = back_up("cart", "www2", "new")[:8]
    before = {each["id"][:8] for each in repository.snapshots()}
    repository.forget("cart", "www2", {"last": 1})
    after = {each["id"][:8] for each in repository.snapshots()}
    assert len(before - after) == 1
    assert before - after < others
    assert stays in after


def test_two_backups_at_once_are_two_backups(repository, back_up):
    with ThreadPoolExecutor() as pool:
        list(pool.map(back_up, ("left", "right"), ("www1", "www1"), ("left", "right")))
    assert last(repository, "left", "www1") == "left"
    assert last(repository, "right", "www1") == "right"


def test_a_backup_of_another_site_is_none_of_this_site(repository, back_up):
    other, _ = back_up("news", "www1", "news"), back_up("club", "www1", "club")
    with pytest.raises(HostError, match=r"is no backup of the site club; its tags are .*site=news"):
        choose(repository.snapshots(), "club", "www1", other[:8])
