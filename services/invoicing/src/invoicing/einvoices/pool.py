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
_AHEAD = 4
_TRIES = 3


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
        for _ in range(_TRIES):
            pool, future = self._schedule(data)
            try:
                return await asyncio.wrap_future(future)
            except BrokenProcessPool:
                self._mend(pool)
            except (TimeoutError, ProcessExpired, MemoryError) as error:
                return _given_up(data, error)
        raise ReadersLostError

    def read_now(self, data: bytes) -> Reading:
        """Reads one file and blocks: for threads."""
        return self._result(data, *self._schedule(data))

    def read_all(self, files: Iterable[bytes]) -> Iterator[Reading]:
        """Reads many files side by side; the readings come in the order of the files, few of which are held at a time."""
        waiting: deque[tuple[bytes, ProcessPool, Future[Reading]]] = deque()
        for data in files:
            waiting.append((data, *self._schedule(data)))
            if len(waiting) >= self.workers * _AHEAD:
                yield self._result(*waiting.popleft())
        while waiting:
            yield self._result(*waiting.popleft())

    def _schedule(self, data: bytes) -> tuple[ProcessPool, "Future[Reading]"]:
        pool = self._pool
        if not pool.active:
            pool = self._mend(pool)
        return pool, pool.schedule(_read, args=(data,), timeout=WALL_SECONDS)

    def _result(self, data: bytes, pool: ProcessPool, future: "Future[Reading]") -> Reading:
        for _ in range(_TRIES):
            try:
                return future.result()
            except BrokenProcessPool:
                self._mend(pool)
                pool, future = self._schedule(data)
            except (TimeoutError, ProcessExpired, MemoryError) as error:
                return _given_up(data, error)
        raise ReadersLostError

    def _mend(self, broken: ProcessPool) -> ProcessPool:
        """A pool in the place of one whose idle workers died (the system was out of memory, somebody killed them)."""
        with self._lock:
            if self._pool is broken:
                broken.stop()  # type: ignore[no-untyped-call] # of pebble
                self._pool = self._new()
            return self._pool


def _given_up(data: bytes, error: Exception) -> Reading:
    what = f"more than {WALL_SECONDS:.0f} s" if isinstance(error, TimeoutError) else "more memory or processor time than a file is given"
    return Reading("unknown", "unreadable", digest(data), reason=f"reading it took {what}")


def _limit() -> None:
    """In a new worker. Address space cannot be bounded: Saxon's runtime reserves 32 GB of it and uses little.

    What Saxon and pypdf say of a bad file on standard error is said by the answer already.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        os.nice(1)


def _read(data: bytes) -> Reading:
    from invoicing.einvoices.reader import read  # noqa: PLC0415 - Saxon and the readers live in the workers alone

    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + CPU_SECONDS + 1, resource.RLIM_INFINITY))
    return read(data)


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
