"""Where everything of a site is on its host, and which release is the current one.

`HomeLayout` knows what is in the home, `SystemLayout` what is elsewhere under the site's name, and
`SiteLayout` both. On the controller `vars/main.yml` and the templates name the same places. (The
Ansible module `aroundtheworld_layout` is something else: it makes the directories and files that a
site needs before its first release.)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.aroundtheworld.data.layout import DataLayout

ROOT = Path("/")
ETC = ROOT / "etc"
RUN = ROOT / "run"
# A file in the directory of each site's settings, by which a host knows its sites.
CLAIM = "aroundtheworld.json"
# The drop-in of a worker or stand-in, with its release and its pool's settings.
DROP_IN = "pool.conf"
# The units of a rollout's steps, each started once.
STEPS = ("prepare", "migrate", "schema", "trial")
# Made last in a virtual environment: one without it was cut off.
WHOLE = ".whole"


@dataclass(frozen=True)
class HomeLayout(DataLayout):
    """Where everything in a site's home is."""

    @property
    def current(self) -> Path:
        """Return the link to the release that all workers run."""
        return self.home / "current"

    @property
    def releases(self) -> Path:
        """Return the directory of releases, each by its id."""
        return self.home / "releases"

    @property
    def environments(self) -> Path:
        """Return the directory of virtual environments, each by its id."""
        return self.home / "environments"

    @property
    def assets(self) -> Path:
        """Return the directory with the static files of all releases."""
        return self.home / "assets"

    def release_assets(self, release: str) -> Path:
        """Return the directory of a release with its static files as they are served."""
        return self.release(release) / "assets"

    @property
    def current_assets(self) -> Path:
        """Return the same of the current release, whichever that is."""
        return self.current / "assets"

    @property
    def shared(self) -> Path:
        """Return the directory in which the app keeps its data."""
        return self.home / "shared"

    @property
    def log(self) -> Path:
        """Return the log of changes."""
        return self.home / "deploys.jsonl"

    @property
    def acme(self) -> Path:
        """Return the directory of what proves to a CA that the site has its names."""
        return self.home / "acme"

    @property
    def maintenance(self) -> Path:
        """Return the page that is there while the site is closed."""
        return self.home / "maintenance.html"

    @property
    def switch(self) -> Path:
        """Return the directory with what else there is while the site is closed."""
        return self.home / "maintenance"

    @property
    def former_before(self) -> Path:
        """Return where former versions of the role kept `SystemLayout.before`."""
        return self.home / ".before"

    @property
    def former_lock(self) -> Path:
        """Return the lock of former versions of the role."""
        return self.home / ".lock"

    @property
    def made(self) -> tuple[Path, ...]:
        """Return what the role makes in the home and a removed site does not keep."""
        return (
            *(self.current, self.releases, self.environments, self.assets),
            *(self.maintenance, self.switch, self.acme, self.backup),
            *(self.former_before, self.former_lock),
        )

    @property
    def data(self) -> tuple[Path, ...]:
        """Return what stays in the home of a removed site, unless its data goes as well."""
        return (self.shared, self.log, self.replaced, self.undo)

    def release(self, name: str) -> Path:
        """Return the directory of a release."""
        return self.releases / name

    def environment_link(self, release: str) -> Path:
        """Return the link from a release to its virtual environment."""
        return self.release(release) / "venv"

    def environment(self, name: str) -> Path:
        """Return the directory of a virtual environment."""
        return self.environments / name

    def current_release(self) -> str:
        """Return the id of the release that all workers run, or an empty text."""
        return self.current.readlink().name if self.current.is_symlink() else ""

    def installed(self) -> list[Path]:
        """Return the directories of the releases on the host; one that is half there is hidden."""
        return list(self.releases.glob("[!.]*"))

    def whole_environments(self) -> list[str]:
        """Return the ids of the virtual environments that are whole."""
        return [path.parent.name for path in self.environments.glob(f"*/{WHOLE}")]

    def environments_by_release(self) -> dict[str, str]:
        """Return the id of each installed release to the id of its virtual environment."""
        links = (self.environment_link(path.name) for path in self.installed())
        return {link.parent.name: link.readlink().name for link in links if link.is_symlink()}


@dataclass(frozen=True)
class SystemLayout:
    """Where everything is that a site has outside its home, and how its units are called.

    Attributes:
        name: The site's name.
        root: Where the host's files are; tests have their own.
    """

    name: str
    root: Path = ROOT

    # --- Settings

    @property
    def etc(self) -> Path:
        """Return the directory of the site's settings."""
        return self.root / "etc" / self.name

    @property
    def claim(self) -> Path:
        """Return the site's claim: the list of what it has on its host."""
        return self.etc / CLAIM

    @property
    def environment_file(self) -> Path:
        """Return the file with the variables of the site's processes."""
        return self.etc / "environment"

    @property
    def secrets(self) -> Path:
        """Return the directory of secrets, each a file."""
        return self.etc / "secrets"

    @property
    def tls(self) -> Path:
        """Return the directory of the certificates and keys that the role writes."""
        return self.etc / "tls"

    @property
    def passwords(self) -> Path:
        """Return the directory of the passwords that nginx asks for, a file for each pool."""
        return self.etc / "passwords"

    @property
    def settings_key(self) -> Path:
        """Return the file with the key of the workers' settings ids."""
        return self.etc / "settings.key"

    @property
    def hold(self) -> Path:
        """Return the file of a person's hold: who, since when, why."""
        return self.etc / "locked.json"

    @property
    def certificate_hook(self) -> Path:
        """Return the command that certbot runs when it has renewed the site's certificate."""
        return self.etc / "certificate-renewed"

    @property
    def backup_settings(self) -> Path:
        """Return the directory with the settings and the password of the site's backups."""
        return self.etc / "backup"

    @property
    def settings(self) -> tuple[Path, ...]:
        """Return what the role writes beside the claim."""
        return (
            *(self.environment_file, self.secrets, self.settings_key),
            *(self.tls, self.certificate_hook, self.passwords, self.backup_settings),
        )

    # --- Units

    @property
    def units(self) -> Path:
        """Return the directory of unit files."""
        return self.root / "etc" / "systemd" / "system"

    def service(self, port: int | str) -> str:
        """Return the name of a worker's service unit; without a port, of all workers' template."""
        return f"{self.name}@{port}.service"

    def socket(self, port: int | str) -> str:
        """Return the name of a worker's socket unit; without a port, of all workers' template."""
        return f"{self.name}@{port}.socket"

    def stand_in(self, port: int | str) -> str:
        """Return the name of the unit that stands in for a worker."""
        return f"{self.name}-handover@{port}.service"

    def step(self, name: str) -> str:
        """Return the name of the unit for a step of a rollout, one of `STEPS`."""
        return f"{self.name}-{name}.service"

    def metrics(self, kind: str) -> str:
        """Return the name of a unit of the metrics' endpoint, a ``socket`` or ``service``."""
        return f"{self.name}-metrics.{kind}"

    def job(self, pool: str, kind: str) -> str:
        """Return the name of a unit of a pool's job, its ``timer`` or ``service``."""
        return f"{self.name}-job-{pool}.{kind}"

    def job_of(self, unit: str) -> str:
        """Return the name of the pool whose job a unit is, or an empty text."""
        stem, _, kind = unit.rpartition(".")
        is_job = kind in ("timer", "service") and stem.startswith(f"{self.name}-job-")
        return stem.removeprefix(f"{self.name}-job-") if is_job else ""

    def stamp(self, timer: str) -> Path:
        """Return the file by which systemd knows when a timer has last elapsed."""
        return self.root / "var" / "lib" / "systemd" / "timers" / f"stamp-{timer}"

    def end(self, kind: str) -> str:
        """Return the name of a unit that opens a closed site, its ``timer`` or ``service``."""
        return f"{self.name}-maintenance.{kind}"

    @property
    def end_files(self) -> list[Path]:
        """Return the files of these units."""
        return [self.units / self.end(kind) for kind in ("service", "timer")]

    def backs_up(self, kind: str) -> str:
        """Return the name of a unit that makes backups, its ``timer`` or ``service``."""
        return f"{self.name}-backup.{kind}"

    @property
    def backup_failed(self) -> str:
        """Return the name of the service that tells the operator of a backup that failed."""
        return f"{self.name}-backup-failed.service"

    def drills(self, kind: str) -> str:
        """Return the name of a unit that tries backups, its ``timer`` or ``service``."""
        return f"{self.name}-backup-drill.{kind}"

    @property
    def drill_failed(self) -> str:
        """Return the name of the service that tells the operator of a drill that failed."""
        return f"{self.name}-backup-drill-failed.service"

    @property
    def backup_files(self) -> list[Path]:
        """Return the files of these units and their program."""
        kinds = ("service", "timer")
        names = [name(kind) for name in (self.backs_up, self.drills) for kind in kinds]
        names += [self.backup_failed, self.drill_failed]
        return [*(self.units / name for name in names), self.backup_script]

    @property
    def backup_script(self) -> Path:
        """Return the program that makes backups."""
        return self.root / "usr" / "local" / "sbin" / f"{self.name}-backup"

    @property
    def not_rolled_out(self) -> list[Path]:
        """Return the unit files that no rollout writes or removes."""
        return [*self.end_files, *self.backup_files]

    @property
    def end_stamp(self) -> Path:
        """Return the file by which systemd knows whether the timer has elapsed."""
        return self.stamp(self.end("timer"))

    def slice(self, pool: str) -> str:
        """Return the name of the slice of a pool's workers."""
        return f"{self.name}-{pool}.slice"

    def stand_in_slice(self, pool: str) -> str:
        """Return the name of the slice of a pool's stand-ins."""
        return f"{self.name}-{pool}.handover.slice"

    @property
    def site_slice(self) -> str:
        """Return the name of the slice around all pools; an operator may write its file."""
        return f"{self.name}.slice"

    def drop_in(self, unit: str) -> Path:
        """Return the path of a unit's drop-in, which names its release and its pool's settings."""
        return self.units / f"{unit}.d" / DROP_IN

    @property
    def before(self) -> Path:
        """Return the directory with the unit files from before a rollout that is under way.

        It is beside them, on the same file system, so that putting them back takes no room there.
        """
        return self.units / f".{self.name}.before"

    @property
    def unfinished_before(self) -> Path:
        """Return what is renamed to `before` when it is complete."""
        return self.before.with_name(f"{self.before.name}.new")

    # --- Elsewhere

    @property
    def run(self) -> Path:
        """Return the directory of the processes' private sockets, which systemd makes for them."""
        return self.root / "run" / self.name

    def private(self, unit: str, socket: str) -> Path:
        """Return the path of a private socket, ``control`` or ``app``, of a worker or stand-in."""
        prefix, _, port = unit.removesuffix(".service").partition("@")
        infix = "handover-" if prefix.endswith("-handover") else ""
        return self.run / f"{infix}{port}" / f"{socket}.sock"

    def private_job(self, pool: str) -> Path:
        """Return the directory that a pool's job has while it runs."""
        return self.run / f"job-{pool}"

    @property
    def script(self) -> Path:
        """Return the command that runs what the app brings as its workers run."""
        return self.root / "usr" / "local" / "sbin" / f"{self.name}-run"

    @property
    def nginx_files(self) -> list[Path]:
        """Return the site's configuration in Debian's layout of nginx, and the link to it."""
        nginx = self.root / "etc" / "nginx"
        directories = ("sites-available", "sites-enabled")
        return [nginx / directory / f"{self.name}.conf" for directory in directories]

    @property
    def nginx_logs(self) -> Path:
        """Return the directory of nginx's logs."""
        return self.root / "var" / "log" / "nginx"

    @property
    def logs(self) -> Path:
        """Return the directory of nginx's logs of the site."""
        return self.nginx_logs / self.name

    @property
    def rotation(self) -> Path:
        """Return the entry by which logrotate rotates the site's logs."""
        return self.root / "etc" / "logrotate.d" / self.name


@dataclass(frozen=True)
class SiteLayout(SystemLayout, HomeLayout):
    """Where everything of a site is: ``SiteLayout(home, name)``."""

    @property
    def kept(self) -> Path | None:
        """Return where unit files from before a rollout are, if one is under way."""
        places = (self.before, self.former_before)
        return next((path for path in places if path.exists()), None)
