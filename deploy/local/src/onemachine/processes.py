"""Child processes that outlive the command that starts them.

A child runs in a session of its own, writes to a log file and leaves a pid file. Invariants:

- a pid file names a process by pid *and* birth, so a recycled pid is never taken for ours and never killed;
- every child carries its pid file's path in its environment, so what it left behind is found even when the pid file is lost;
- after `stop` neither the process nor any of its descendants lives.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from onemachine.errors import LocalError

MARK = "ENCOURS_PIDFILE"

# Children of this very process must be reaped, or they stay zombies that look alive. Keyed by pid; kept for the life of the process because
# a Popen that is collected while its child runs warns.
_children: dict[int, subprocess.Popen[bytes]] = {}


class EndedError(LocalError):
    """The child died before it was ready."""


@dataclass
class Process:
    """One named child: its files are `run/NAME.pid` and `logs/NAME.log` under `root`."""

    root: Path
    name: str
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def log(self) -> Path:
        """Where the child's output goes; appended to over restarts."""
        return self.root / "logs" / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """JSON: pid, birth (see `_birth`)."""
        return self.root / "run" / f"{self.name}.pid"

    @property
    def pid(self) -> int | None:
        """The pid of the living child, or None."""
        try:
            record = json.loads(self.pid_file.read_text())
            pid, birth = int(record["pid"]), str(record["birth"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # none, or torn by a crash: the mark in the environment finds it
            return None
        _reap(pid)
        return pid if _birth(pid) == birth else None

    @property
    def alive(self) -> bool:
        """Whether the child lives (a zombie does not)."""
        return self.pid is not None

    @property
    def started_at(self) -> float | None:
        """Unix seconds of the child's birth, or None when it does not live."""
        pid = self.pid
        with contextlib.suppress(psutil.Error):
            return psutil.Process(pid).create_time() if pid else None
        return None

    def start(
        self, command: Sequence[str | Path], env: Mapping[str, str] | None = None, *, user: int | None = None, cwd: Path | None = None
    ) -> int:
        """Start the child and return its pid; `env` replaces ours; with `user` it runs as that uid and gid (root only).

        Raises LocalError when the child lives already or the program cannot be run.
        """
        if self.alive:
            raise LocalError(f"{self.name} runs already (pid {self.pid})")
        self.kill_strays()
        for folder in (self.log.parent, self.pid_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        identity: dict[str, object] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        with self.log.open("ab") as log:
            try:
                child = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603 - our own commands  # the overloads do not know **identity
                    [str(part) for part in command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    cwd=cwd or self.root,
                    env={**(os.environ if env is None else env), MARK: str(self.pid_file.resolve())},
                    **identity,
                )
            except OSError as error:
                raise LocalError(f"{self.name} cannot be started: {error}") from error
        _children[child.pid] = child
        temporary = self.pid_file.with_suffix(".pid.new")
        temporary.write_text(json.dumps({"pid": child.pid, "birth": _birth(child.pid)}))
        temporary.replace(self.pid_file)
        pid: int = child.pid
        return pid

    def finish(self) -> None:
        """Wait for the end of a child that was started here. Raises LocalError with the log's end when it failed."""
        pid = json.loads(self.pid_file.read_text())["pid"]
        code = _children[pid].wait()
        self.stop()  # and what it may have left behind
        if code:
            raise LocalError(f"{self.name} failed with exit code {code}; {self.tail()}")

    def ask_to_stop(self) -> None:
        """Send the stop signal and return at once."""
        pid = self.pid
        if pid is not None:
            _signal(pid, self.stop_signal)

    def wait_end(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the child to end; whether it has."""
        pid = self.pid
        return pid is None or _gone([pid], timeout)

    def stop(self, timeout: float = 30.0) -> None:
        """End the child and everything it started: its stop signal, `timeout` seconds, then SIGKILL. Harmless when it does not live."""
        pid = self.pid
        if pid is not None:
            family = _family(pid)
            _signal(pid, self.stop_signal)
            _gone([pid], timeout)
            end_all([member for member, birth in family.items() if _birth(member) == birth])
        self.kill_strays()
        self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL the child and everything it started, at once: what a power cut does, for the fault tests."""
        pid = self.pid
        if pid is not None:
            end_all(list(_family(pid)))
        self.kill_strays()

    def kill_strays(self) -> None:
        """SIGKILL what an earlier run of this child left behind."""
        mark = str(self.pid_file.resolve())
        end_all([p.pid for p in psutil.process_iter() if p.pid != os.getpid() and _mark(p) == mark])

    def ensure(self, launch: Callable[[], object], ready: Callable[[], bool], timeout: float) -> None:
        """Return when the child is ready, after `launch` where it does not live; errors as of `wait_ready`."""
        launched = not self.alive
        if launched:
            launch()
        try:
            self.wait_ready(ready, timeout)
        except EndedError:
            if launched:
                raise
            launch()  # it was being killed when we looked
            self.wait_ready(ready, timeout)

    def wait_ready(self, ready: Callable[[], bool], timeout: float) -> None:
        """Poll `ready` until it is true.

        Raises LocalError with the last log lines when `timeout` seconds pass first, EndedError when it dies.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.alive:
                raise EndedError(f"{self.name} ended while starting; {self.tail()}")
            if time.monotonic() > deadline:
                raise LocalError(f"{self.name} was not ready within {timeout:.0f} s; {self.tail()}")
            time.sleep(0.05)

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log, introduced by the file's path."""
        if not self.log.exists():
            return f"no log at {self.log}"
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 16_384))
            last = log.read().decode(errors="replace").splitlines()[-lines:]
        return f"the end of {self.log}:\n" + "\n".join(f"    {line}" for line in last)


def _birth(pid: int) -> str | None:
    """What tells this process from any other that ever had its pid; None when there is no such process or it is a zombie.

    On Linux boot id and start tick, which no change of the clock moves; elsewhere the start time.
    """
    stat = Path(f"/proc/{pid}/stat")
    try:
        if Path("/proc/sys/kernel/random/boot_id").exists():
            fields = stat.read_text().rpartition(")")[2].split()  # the name before it may hold spaces and parentheses; see proc(5)
            ended = (
                fields[0] in "ZX" and len(list((stat.parent / "task").iterdir())) <= 1
            )  # threads of a killed JVM hold its ports a little longer
            return None if ended else f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{fields[19]}"
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except (OSError, psutil.Error):
        return None


def _reap(pid: int) -> None:
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):  # another user's, or gone
        return None


def _family(pid: int) -> dict[int, str | None]:
    """The process and its descendants, with their births."""
    try:
        members = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return {}
    return {member: _birth(member) for member in members}


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def end_all(pids: list[int]) -> None:
    """SIGKILL the living among `pids`, which are fresh from the process table, and wait until they are gone."""
    living = [pid for pid in pids if _birth(pid) is not None]
    for pid in living:
        _signal(pid, signal.SIGKILL)
    if not _gone(living, 10.0):
        raise LocalError(f"processes {living} do not end after SIGKILL: the disk they write to may hang")


def _gone(pids: list[int], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while True:
        for pid in pids:
            _reap(pid)
        if all(_birth(pid) is None for pid in pids):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
