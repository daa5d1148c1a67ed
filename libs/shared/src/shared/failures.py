"""The two ways a thing can fail, and how to tell them apart.

Poison: this message can never work; it is dead-lettered and the rest goes on.
Unavailable: the world is not ready (deadlock, serialization, timeout, outage); it is tried again and never dead-lettered.

Invariant: what is not known to be unavailable is poison, so that a fault of ours is found by bisecting, kept whole in
the dead letters, and bounded by the limits of `shared.batches`.
"""

import asyncio

from asyncpg import InternalClientError
from sqlalchemy.exc import DBAPIError, InterfaceError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class PoisonError(Exception):
    """A message that can never work. The text says why, without personal data."""


class UnavailableError(Exception):
    """Not now: try later."""


# SQLSTATE classes and codes (PostgreSQL, appendix A) after which the same statement may well succeed.
_TRANSIENT_CLASSES = ("08", "40", "53", "57", "58")
_TRANSIENT_CODES = ("55P03", "25P03", "25P04")


def sqlstate(error: BaseException) -> str | None:
    """The five-character SQLSTATE of a database error, where it has one."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None)
    return code if isinstance(code, str) else None


def told(error: BaseException) -> str:
    """An error in words that are safe to keep: what a database's driver says may quote values, so its code stands instead."""
    if isinstance(error, SQLAlchemyError):
        origin = getattr(error, "orig", None) or error
        constraint = getattr(origin.__cause__, "constraint_name", None)
        return " ".join(filter(None, [type(origin).__name__, sqlstate(error), constraint]))
    return f"{type(error).__name__}: {error}"


def is_unavailable(error: BaseException) -> bool:
    """Whether the same work may succeed later: connection, lock, serialization, timeout, resources, shutdown."""
    if isinstance(error, UnavailableError | PoolTimeoutError | InterfaceError | InternalClientError | OSError | asyncio.TimeoutError):
        return True
    if isinstance(error, DBAPIError):
        code = sqlstate(error)
        if code is None:
            return error.connection_invalidated or isinstance(error.orig, OSError)
        return code.startswith(_TRANSIENT_CLASSES) or code in _TRANSIENT_CODES
    return False
