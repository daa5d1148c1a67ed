"""The database edge: the only place that begins, scopes and commits a transaction.

Invariants:
- application code never commits; `Database.transaction` does, once, at its end;
- a transaction sees the tenants it names and no others: row-level security reads `app.tenants`, whose default is none;
- what must be held for a moment only, or written once, waits for the end of the transaction (`at_end`); what a savepoint takes
  back waits for nothing (`savepoint`);
- writing is set-wise: arrays in, one statement a batch (`unnest`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Row, TextClause, event, text
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction, create_async_engine

from shared.clock import machine_now

_DIALECT = dialect()  # type: ignore[no-untyped-call]
SERVER_SETTINGS = {
    "jit": "off",
    "lock_timeout": "10s",
    "statement_timeout": "120s",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
}


PUBLISHED = "encours.published"
"""Set in a connection's `info` by whoever puts rows into the outbox."""
_DATABASE = "encours.database"
_ENDING = "encours.ending"
_DRIVER = "encours.driver"
Step = Callable[[AsyncConnection, Sequence[Any]], Awaitable[None]]
"""What is done at the end of a transaction, with all that it was given until then, in that order."""
_CLIENT = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the driver raises by itself; the latter where the server's farewell has come and the end of the connection not yet."""


def async_url(url: str) -> str:
    """A PostgreSQL URL for SQLAlchemy's asyncpg dialect."""
    return "postgresql+asyncpg://" + url.split("://", 1)[1]


@cache
def sql(statement: str) -> TextClause:
    """A textual statement, parsed once per process."""
    return text(statement)


async def fetch(conn: AsyncConnection, statement: str, /, **values: Any) -> Sequence[Row[Any]]:
    """The rows of one statement."""
    return (await conn.execute(sql(statement), values)).fetchall()


@cache
def _for_driver(statement: str) -> tuple[str, list[str]]:
    """A statement as the driver takes it, and the names of its parameters in their order."""
    compiled = sql(statement).compile(dialect=_DIALECT)
    return str(compiled), list(compiled.positiontup or ())


class _RefusedError(Exception):
    """What a driver's error is to `shared.failures` and `shared.web.problems`: its code, with the error itself as its cause."""

    def __init__(self, error: Exception) -> None:
        super().__init__(type(error).__name__)
        self.sqlstate: str | None = getattr(error, "sqlstate", None)
        self.__cause__ = error


async def records(conn: AsyncConnection, statement: str, /, **values: Any) -> Sequence[Any]:
    """Executes one statement by the driver itself, for less than half of what `fetch` and `run` take: where each statement counts.

    The rows are the driver's own, whose values have places and no attributes. The server takes each parameter's type from its place in
    the statement, so cast what has none there. Needs a transaction that has begun (`Database.transaction`), for it begins none, or a
    connection that commits each statement; raises what `fetch` raises.
    """
    driver = await _driver(conn)
    options = (conn.sync_connection or conn.sync_engine).get_execution_options()
    if not driver.is_in_transaction() and options.get("isolation_level") != "AUTOCOMMIT":
        raise RuntimeError("records are read within a transaction")
    if (database := conn.info.get(_DATABASE)) is not None:
        database.statements += 1
    text_, names = _for_driver(statement)
    with _refusals(driver):
        return await driver.fetch(text_, *[values[name] for name in names])  # type: ignore[no-any-return] # the driver has no types


async def script(conn: AsyncConnection, statements: str) -> str:
    """Executes statements without parameters in one round trip, past SQLAlchemy; returns the tag of the last."""
    driver = await _driver(conn)
    with _refusals(driver):
        return str(await driver.execute(statements))


async def _driver(conn: AsyncConnection) -> Any:
    """The driver's own connection (asyncpg, which has no types).

    SQLAlchemy goes through a greenlet to say it; as long as the connection is the same one, so is its `info`.
    """
    info = conn.info
    if _DRIVER not in info:
        info[_DRIVER] = (await conn.get_raw_connection()).driver_connection
    return info[_DRIVER]


@contextmanager
def _refusals(driver: Any) -> Iterator[None]:
    """What the driver raises, as SQLAlchemy would."""
    try:
        yield
    except _CLIENT as error:
        raise InterfaceError(None, None, _RefusedError(error), hide_parameters=True) from error
    except asyncpg.PostgresError as error:
        refused = _RefusedError(error)
        raise DBAPIError(None, None, refused, hide_parameters=True, connection_invalidated=driver.is_closed()) from error


async def run(conn: AsyncConnection, statement: str, /, **values: Any) -> int:
    """Executes one statement and returns how many rows it touched."""
    return (await conn.execute(sql(statement), values)).rowcount


@dataclass(slots=True)
class _Ending:
    """What a transaction has still to do before it commits."""

    first: list[tuple[Step, Any]] = field(default_factory=list)
    last: list[tuple[Step, Any]] = field(default_factory=list)
    over: bool = False

    async def run(self, conn: AsyncConnection) -> None:
        for steps in (self.first, self.last):  # what the first ones put off comes with the last
            together: dict[Step, list[Any]] = {}
            for step, given in steps:
                together.setdefault(step, []).append(given)
            for step, all_given in together.items():
                await step(conn, all_given)


def at_end(conn: AsyncConnection, step: Step, given: object, *, last: bool = False) -> None:
    """Puts a step off to the end of the transaction: it runs once, with all that it was given; those that are `last` after the others.

    A row that many transactions change is locked for as short as can be so, and rows of many callers go in with one statement.
    """
    ending: _Ending | None = conn.info.get(_ENDING)
    if ending is None or ending.over:
        raise RuntimeError("nothing ends here: this is no transaction of `Database.transaction`")
    (ending.last if last else ending.first).append((step, given))


@dataclass(frozen=True, slots=True)
class Savepoint:
    """What a transaction was at one of its moments; `savepoint` makes it."""

    _nested: AsyncTransaction
    _ending: _Ending
    _first: int
    _last: int

    async def rollback(self) -> None:
        """Undoes what was done since, and forgets what was put off since."""
        self._forget()
        await self._nested.rollback()

    def _forget(self) -> None:
        del self._ending.first[self._first :], self._ending.last[self._last :]


@asynccontextmanager
async def savepoint(conn: AsyncConnection) -> AsyncIterator[Savepoint]:
    """What is done within is undone when it raises, or by `rollback`, which is the last thing within; so is what it put off to the end."""
    ending: _Ending = conn.info[_ENDING]
    async with conn.begin_nested() as nested:
        point = Savepoint(nested, ending, len(ending.first), len(ending.last))
        try:
            yield point
        except BaseException:
            point._forget()  # noqa: SLF001 - its own module
            raise


def unnest(columns: Mapping[str, str], alias: str = "t") -> str:
    """A FROM item that turns one array parameter per column into rows: `unnest({"id": "uuid"})`.

    Array parameters have the columns' names. A column whose type is not an array's element type by itself (jsonb) is
    passed as text and cast where it is used.
    """
    arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in columns.items())
    return f"unnest({arrays}) AS {alias}({', '.join(columns)})"


def arrays(rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> dict[str, list[Any]]:
    """The array parameters for `unnest`: rows (in the order of `columns`) turned into one list per column."""
    lists: list[list[Any]] = [list(values) for values in zip(*rows, strict=True)]
    return dict(zip(columns, lists, strict=True)) if lists else {name: [] for name in columns}


class Database:
    """A service's database, as one of its roles."""

    def __init__(self, url: str, *, application_name: str, pool_max: int = 8) -> None:
        self.engine: AsyncEngine = create_async_engine(
            async_url(url),
            pool_size=pool_max,
            max_overflow=0,
            pool_timeout=15,
            pool_use_lifo=True,  # the connection used last knows the statements; in turns, each of eight would have to learn them all
            hide_parameters=True,  # errors end in logs and dead letters: no values in them
            connect_args={"server_settings": {**SERVER_SETTINGS, "application_name": application_name}, "timeout": 10},
        )
        self._by_hand = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        """Of the same pool, for `transaction`: it begins with its scope in one round trip, for which SQLAlchemy takes two."""
        self.statements = 0
        """Statements executed so far: what performance tests count."""
        self.after_commit: list[Callable[[], None]] = []
        """Called after every commit that published something: the relay is woken by it."""
        self._seen: set[UUID] = set()
        event.listen(self.engine.sync_engine, "before_cursor_execute", self._count)
        event.listen(self.engine.sync_engine, "checkout", _check)

    def _count(self, *_: object) -> None:
        self.statements += 1

    @asynccontextmanager
    async def transaction(self, *tenants: UUID) -> AsyncIterator[AsyncConnection]:
        """One transaction in the scope of some tenants; it commits at its end and rolls back on any exception."""
        async with self._by_hand.connect() as conn:
            conn.info.pop(PUBLISHED, None)
            conn.info[_DATABASE] = self
            ending = conn.info[_ENDING] = _Ending()
            try:
                await script(conn, f"BEGIN; SELECT set_config('app.tenants', '{_array(tenants)}', true)")
                self.statements += 1
                if unseen := [tenant for tenant in dict.fromkeys(tenants) if tenant not in self._seen]:
                    await conn.execute(
                        sql("INSERT INTO tenant (tenant_id, since) SELECT unnest(CAST(:ids AS uuid[])), :now ON CONFLICT DO NOTHING"),
                        {"ids": sorted(unseen), "now": machine_now()},
                    )
                yield conn
                await ending.run(conn)
                published = conn.info.pop(PUBLISHED, False)
                await _commit(conn)
            except BaseException:
                await _roll_back(conn)
                raise
            finally:
                ending.over = True
        self._seen.update(tenants)
        if published:
            for wake in self.after_commit:
                wake()

    async def tenants(self) -> list[UUID]:
        """Every tenant that this service has seen: what scheduled work goes through."""
        async with self.engine.begin() as conn:
            return [row.tenant_id for row in await fetch(conn, "SELECT tenant_id FROM tenant ORDER BY tenant_id")]

    async def ping(self) -> None:
        """Raises when the database does not answer."""
        async with self.engine.connect() as conn:
            await conn.execute(sql("SELECT 1"))

    async def close(self) -> None:
        """Closes the pool."""
        await self.engine.dispose()


def _array(tenants: Iterable[UUID]) -> str:
    return "{" + ",".join(sorted({str(tenant) for tenant in tenants})) + "}"


async def _commit(conn: AsyncConnection) -> None:
    """Raises where the server has rolled back instead, as it does without a word after a failed statement."""
    if await script(conn, "COMMIT") != "COMMIT":
        raise RuntimeError("a statement of this transaction had failed, and nothing of it was committed")


async def _roll_back(conn: AsyncConnection) -> None:
    """Ends a transaction that failed. Where that cannot be, the connection goes, and the server ends it."""
    if conn.invalidated:
        return
    driver = await _driver(conn)
    try:
        with suppress(asyncpg.PostgresError, *_CLIENT, OSError):
            if driver.is_in_transaction():
                await driver.execute("ROLLBACK")
    finally:  # also where this is called off: what it has locked must not wait in the pool
        if driver.is_closed() or driver.is_in_transaction():
            await conn.invalidate()


def _check(connection: Any, *_: object) -> None:
    """A pooled connection that the server closed is not given out, nor those older than it; nor one whose transaction was never ended."""
    driver = connection.driver_connection
    if driver.is_closed():
        raise InvalidatePoolError("the server closed it")
    if driver.is_in_transaction():
        raise DisconnectionError("in a transaction")
