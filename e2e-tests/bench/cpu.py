"""What a payment costs of the processors, by process: steadier than a rate, and true also where others are at work."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROLES = {"postgres": "postgres", "kafka.Kafka": "kafka", "relay": "relay", "worker": "worker"}
"""A word of a process's command line to what it is; the first that is there counts, for sessions of the database name their clients."""


class Meter:
    """Microseconds of processor time a payment, of the processes that have `folder` in their command line and of this one's
    children, with all of theirs (Linux).
    """

    def __init__(self, folder: Path, of: int) -> None:
        self._folder, self._of = str(folder), of
        self._before: dict[int, float] = {}
        self._count = 0
        self.spent: dict[str, float] = {}

    def begin(self, count: int) -> None:
        """So many payments have come by now."""
        self._before = {pid: used for pid, _, used in self._processes()}
        self._count = count

    def end(self, count: int) -> None:
        """So many have come, and that is all: `spent` says what each kind of process took for one of them since `begin`."""
        self.spent = {}
        for pid, role, used in self._processes():
            self.spent[role] = self.spent.get(role, 0.0) + (used - self._before.get(pid, 0.0)) / (count - self._count)
        self.spent = {role: round(spent, 1) for role, spent in self.spent.items()}

    def _processes(self) -> Iterator[tuple[int, str, float]]:
        """Process id, role, microseconds."""
        found: dict[int, tuple[int, str]] = {}
        for path in Path("/proc").iterdir():
            with suppress(ValueError, OSError):
                pid, command = int(path.name), (path / "cmdline").read_bytes().decode(errors="replace")
                found[pid] = (int((path / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]), command)
        ours = {pid for pid, (parent, command) in found.items() if parent == self._of or self._folder in command} - {self._of}
        while more := {pid for pid, (parent, _) in found.items() if parent in ours} - ours:
            ours |= more
        for pid in ours:
            with suppress(OSError):
                tasks = [int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()]
                role = next((name for word, name in ROLES.items() if word in found[pid][1]), "other")
                yield pid, role, sum(tasks) / 1000
