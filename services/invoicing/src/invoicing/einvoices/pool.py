"""Warm worker processes that read e-invoices, so that a hostile file costs seconds and one process, never the service.

Each worker compiles a stylesheet when it first needs it and keeps it. Invariants: a file has at most `CPU_SECONDS` of a core,
`WALL_SECONDS` in all and `DATA_BYTES` of memory; a worker that goes beyond is killed and replaced, and its file is
`unreadable` with the reason; nothing else waits for it but its own caller.
"""

import asyncio
import atexit
import contextlib
import multiprocessing
import os
import resource
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, TimeoutError  # noqa: A004 - the one that pebble sets
from concurrent.futures.process import BrokenProcessPool
from typing import Self

from pebble import ProcessExpired, ProcessPool

from invoicing.einvoices import artefacts
from invoicing.einvoices.reading import Reading, digest

CPU_SECONDS = 20
WALL_SECONDS = 90.0
DATA_BYTES = 3 * 1024**3
_AHEAD = 3
_PART_FILES, _PART_BYTES = 8, 64 * 1024
_TRIES = 3
_FAILURES = (TimeoutError, ProcessExpired, MemoryError, BrokenProcessPool)


class ReadersLostError(OSError):
    """Workers die again and again without a file that is to blame: something is wrong with this machine."""

    def __init__(self) -> None:
        super().__init__(f"the processes that read e-invoices ended {_TRIES} times")


class ReaderPool:
    """Reads files in worker processes, started as needed. Close it, or use it as a context."""

    def __init__(self, workers: int | None = None) -> None:
        """`workers`: one per core unless said. Raises JarError where the rules cannot be had."""
        artefacts.fetch()
        self.workers = workers or len(os.sched_getaffinity(0))
        self._lock = threading.Lock()
        self._pool = self._new()

    def _new(self) -> ProcessPool:
        return ProcessPool(self.workers, initializer=_limit, context=multiprocessing.get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers; what they are reading is given up."""
        self._pool.stop()  # type: ignore[no-untyped-call] # of pebble
        self._pool.join()

    async def read(self, data: bytes) -> Reading:
        """Reads one file without holding up the event loop. Never raises for what is in the file."""
        for attempt in range(_TRIES):
            pool, future = self._schedule([data])
            try:
                [reading] = await asyncio.wrap_future(future)
            except _FAILURES as error:
                if (given_up := self._failed(data, pool, error, attempt)) is not None:
                    return given_up
            else:
                return reading
        raise ReadersLostError

    def read_now(self, data: bytes) -> Reading:
        """Reads one file and blocks: for threads."""
        for attempt in range(_TRIES):
            pool, future = self._schedule([data])
            try:
                [reading] = future.result()
            except _FAILURES as error:
                if (given_up := self._failed(data, pool, error, attempt)) is not None:
                    return given_up
            else:
                return reading
        raise ReadersLostError

    def read_all(self, files: Iterable[bytes]) -> Iterator[Reading]:
        """Reads many files side by side; the readings come in the order of the files, few of which are held at a time.

        Small files go to a worker several at a time; where one of them fails, each is read again by itself.
        """
        waiting: deque[tuple[list[bytes], Future[list[Reading]]]] = deque()
        for part in _parts(files):
            waiting.append((part, self._schedule(part)[1]))
            if len(waiting) > self.workers * _AHEAD:
                yield from self._readings(*waiting.popleft())
        while waiting:
            yield from self._readings(*waiting.popleft())

    def _readings(self, part: list[bytes], future: "Future[list[Reading]]") -> list[Reading]:
        try:
            return future.result()
        except _FAILURES:
            return [self.read_now(data) for data in part]

    def _schedule(self, part: list[bytes]) -> tuple[ProcessPool, "Future[list[Reading]]"]:
        pool = self._pool
        if not pool.active:
            pool = self._mend(pool)
        return pool, pool.schedule(_read, args=(part,), timeout=WALL_SECONDS)

    def _failed(self, data: bytes, pool: ProcessPool, error: Exception, attempt: int) -> Reading | None:
        """What a failure says of a file; None where the file is not to blame, and it is read again."""
        if isinstance(error, BrokenProcessPool):
            self._mend(pool)
            return None
        killed_from_outside = isinstance(error, ProcessExpired) and error.exitcode != -signal.SIGXCPU
        if killed_from_outside and attempt == 0:
            return None
        what = (
            f"more than {WALL_SECONDS:.0f} s" if isinstance(error, TimeoutError) else "more memory or processor time than a file is given"
        )
        return Reading("unknown", "unreadable", digest(data), reason=f"reading it took {what}")

    def _mend(self, broken: ProcessPool) -> ProcessPool:
        """A pool in the place of one whose idle workers died (the system was out of memory, somebody killed them)."""
        with self._lock:
            if self._pool is broken:
                broken.stop()  # type: ignore[no-untyped-call] # of pebble
                self._pool = self._new()
            return self._pool


def _parts(files: Iterable[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for data in files:
        part.append(data)
        size += len(data)
        if len(part) >= _PART_FILES or size >= _PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _limit() -> None:
    """In a new worker. Address space cannot be bounded: Saxon's runtime reserves 32 GB of it and uses little.

    What Saxon and pypdf say of a bad file on standard error is said by the answer already.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        os.nice(1)


def _read(part: list[bytes]) -> list[Reading]:
    from invoicing.einvoices.reader import read  # noqa: PLC0415 - Saxon and the readers live in the workers alone

    readings = []
    for data in part:
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + CPU_SECONDS + 1, resource.RLIM_INFINITY))
        readings.append(read(data))
    return readings


_kept: ReaderPool | None = None
_keeping = threading.Lock()


def kept_pool() -> ReaderPool:
    """The pool that a service process keeps until it ends; made at the first call, which may fetch the rules: call it off the loop."""
    global _kept  # noqa: PLW0603 - one pool per process, whoever asks first
    with _keeping:
        if _kept is None:
            _kept = ReaderPool()
            atexit.register(_kept.close)
        return _kept


async def read_file(data: bytes) -> Reading:
    """Reads a file in the kept pool. Raises JarError where the rules cannot be had."""
    pool = await asyncio.to_thread(kept_pool) if _kept is None else _kept
    return await pool.read(data)
