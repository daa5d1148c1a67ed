"""Jars by a locked list, fetched once from Maven Central and kept outside any checkout: the broker, the rules of e-invoices.

A line of a list is `group:artifact:version sha256:HEX`. Invariants: a file under its final name is whole and has the listed checksum (it
is renamed there only after the check), so an interrupted fetch goes on where it stopped; what has another checksum is removed and refused
by name. jgo only downloads, it does not resolve: a list names everything that is needed.

    python -m shared.jars LIST...      fetches what the lists name, e.g. when an image is built
"""

import hashlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from shared.locks import exclusive

_ATTEMPTS = 4
_log = logging.getLogger(__name__)


class JarError(OSError):
    """A list is malformed, or a jar of it cannot be had; the text is one line that says what and where."""


class ChecksumError(JarError):
    """A downloaded jar is not the one that the list names."""


@dataclass(frozen=True)
class Jar:
    """One line of the list."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def coordinate(self) -> str:
        """`group:artifact:version`, as Maven names it."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file_name(self) -> str:
        """The name in the cache. Two groups share no artifact name in the list (`read_list` checks it)."""
        return f"{self.artifact}-{self.version}.jar"


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/encours`, else `~/.cache/encours`: shared by all checkouts of a user."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "encours"


def jars_folder() -> Path:
    """Where jars are kept: `$ENCOURS_JARS_DIR` (an image has them there), else `jars` in the user's cache."""
    given = os.environ.get("ENCOURS_JARS_DIR")
    return Path(given) if given else cache_folder() / "jars"


def read_list(file: Path) -> list[Jar]:
    """The jars of a list, in its order. Raises JarError naming the line that is malformed or doubled."""
    jars: dict[str, Jar] = {}
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        coordinate, _, checksum = line.partition(" sha256:")
        parts = coordinate.split(":")
        if len(parts) != 3 or len(checksum) != 64 or not all(parts):  # noqa: PLR2004 - group, artifact, version; hex digits of a SHA-256
            raise JarError(f"{file}:{number}: expected 'group:artifact:version sha256:HEX', found {line!r}")
        group, artifact, version = parts
        jar = Jar(group, artifact, version, checksum.lower())
        if jar.file_name in jars:
            raise JarError(f"{file}:{number}: {jar.file_name} is listed twice")
        jars[jar.file_name] = jar
    return list(jars.values())


def fetch(
    jars: list[Jar],
    folder: Path,
    *,
    repositories: dict[str, str] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    pause: float = 1.0,
) -> list[Path]:
    """The jars' paths in `folder`, in order, fetched 8 at a time where missing.

    `repositories` (name to URL) replaces Maven Central; `progress` is told (present, all); `pause` seconds, doubled each time, separate the
    attempts at one jar. Raises ChecksumError naming the jar that is not the listed one, JarError naming the one that cannot be had.
    """
    if any(not (folder / jar.file_name).exists() for jar in jars):
        with exclusive(folder / ".lock"):
            _fetch_missing(jars, folder, repositories, progress, pause)
    return [folder / jar.file_name for jar in jars]


def _fetch_missing(
    jars: list[Jar], folder: Path, repositories: dict[str, str] | None, progress: Callable[[int, int], None], pause: float
) -> None:
    for leftover in folder.glob(".fetch-*"):  # of a fetch that was killed: we hold the lock
        shutil.rmtree(leftover)
    missing = [jar for jar in jars if not (folder / jar.file_name).exists()]
    present = len(jars) - len(missing)
    progress(present, len(jars))
    with ThreadPoolExecutor(8, thread_name_prefix="fetch") as pool:
        done = [pool.submit(_fetch_one, jar, folder, repositories, pause) for jar in missing]
        try:
            for number, future in enumerate(as_completed(done), start=present + 1):
                future.result()
                progress(number, len(jars))
        except BaseException:  # also Ctrl-C: what is whole stays, the rest is fetched next time
            pool.shutdown(cancel_futures=True)
            raise


def _fetch_one(jar: Jar, folder: Path, repositories: dict[str, str] | None, pause: float) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            return _download(jar, folder, repositories)
        except ChecksumError:
            raise
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo says "not found" with RuntimeError
            if attempt + 1 == _ATTEMPTS:
                raise JarError(f"{jar.coordinate} cannot be fetched from Maven Central: {_one_line(error)}") from error
            _log.debug("attempt %d at %s failed: %s", attempt + 1, jar.coordinate, _one_line(error))
            time.sleep(pause * 2**attempt)
    return None


def _download(jar: Jar, folder: Path, repositories: dict[str, str] | None) -> None:
    from jgo.maven import MavenContext  # noqa: PLC0415 - half a second, and needed once per machine

    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as staging:  # in `folder`: a rename is atomic within a file system only
        context = MavenContext(repo_cache=Path(staging), remote_repos=repositories, local_repos=[], timeout=60)
        staged: Path = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        found = hashlib.sha256(staged.read_bytes()).hexdigest()
        if found != jar.sha256:
            raise ChecksumError(f"{jar.coordinate} is refused: its sha256 is {found}, the list says {jar.sha256}; nothing of it was kept")
        with staged.open("rb") as whole:
            os.fsync(whole.fileno())
        staged.replace(folder / jar.file_name)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _main() -> int:
    for listed in sys.argv[1:]:
        try:
            fetch(read_list(Path(listed)), jars_folder())
        except OSError as error:
            print(f"jars: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
