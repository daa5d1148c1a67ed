"""Customers of an import's slice, set-wise: entered or changed with a constant number of statements.

Invariants: as of `handlers/customers.put_customer`, whose effects and refusals these are; what a file has no column for stays
as it is known; a customer that comes several times in a slice gets one version, the last row's.
"""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from contracts.customers import CustomerChanged, CustomerIdentityChanged
from shared.db import savepoint
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.handlers.customers import store
from invoicing.handlers.imported import Outcome, Told
from invoicing.imports.customers import TakenCustomer
from invoicing.storage import customers as storage
from invoicing.storage.rows import as_dict

_DECODED = frozenset({"company_ids", "address", "contacts", "known_ibans", "addresses"})
_CUSTOMER, _IDENTITY = CustomerChanged.__struct_fields__, CustomerIdentityChanged.__struct_fields__
_NO_PARENT = "the group's parent is none of our customers yet: put parents first, or send the file again with repeat"
Kept = tuple[CustomerChanged, CustomerIdentityChanged | None]


async def take_customers(
    conn: AsyncConnection, tenant_id: UUID, taken: Sequence[TakenCustomer], label: Callable[[str], str], *, actor: str
) -> list[Outcome]:
    """Enters or changes the customers of a slice; one outcome for each, in order.

    A group's parent must be known, or be in the same slice; those whose parents would form a circle are rejected.
    """
    refused: dict[int, Told] = {place: each.faults for place, each in enumerate(taken) if each.customer is None}
    if any(each.customer is not None and each.customer.parent_customer_id is not None for each in taken):
        await storage.hold_relations(conn, tenant_id)
    while True:
        async with savepoint(conn) as attempt:
            outcomes, circles = await _settle(conn, tenant_id, taken, refused, label, actor=actor)
            if circles:
                await attempt.rollback()
        if not circles:
            return outcomes
        for place in circles:
            refused[place] = ((label("parent_number"), "parent-circle", "the customer would be its own parent"),)


async def _settle(
    conn: AsyncConnection,
    tenant_id: UUID,
    taken: Sequence[TakenCustomer],
    refused: dict[int, Told],
    label: Callable[[str], str],
    *,
    actor: str,
) -> tuple[list[Outcome], list[int]]:
    """Writes all that is not refused; the outcomes, and the places of those whose parents form a circle now."""
    sound = {place: each.customer for place, each in enumerate(taken) if place not in refused and each.customer is not None}
    told = dict(refused)
    for place in await _without_parent(conn, tenant_id, sound):
        told[place] = ((label("parent_number"), "parent-unknown", _NO_PARENT),)
        del sound[place]
    first = {each.customer_id: each for each in reversed(sound.values())}
    made = await storage.insert_customers(conn, tenant_id, list(first.values()))
    rows = await storage.lock_customers(conn, tenant_id, first)
    known = await storage.identities(conn, tenant_id, rows)
    stored: dict[UUID, Kept] = {key: _kept(row, known.get(key)) for key, row in rows.items() if key not in made}
    current: dict[UUID, Kept] = dict(stored)
    outcomes: list[Outcome] = []
    for place, each in enumerate(taken):
        customer, identity = each.customer, each.identity
        if place in sound and rows[sound[place].customer_id].erased_on is not None:
            told[place] = (("", "customer-erased", "the customer's personal data were erased: nothing new is kept of it"),)
        if place in told or customer is None or identity is None:
            outcomes.append(Outcome("rejected", each.line, None, None, told.get(place, ())))
            continue
        before = current.get(customer.customer_id)
        after = (customer, identity) if before is None else _merged(each, customer, identity, before)
        current[customer.customer_id] = after
        status = "created" if before is None else "unchanged" if after == before else "changed"
        outcomes.append(Outcome(status, each.line, None, None, subject=customer.customer_id))  # type: ignore[arg-type] # one of the three
    await _write(conn, tenant_id, stored, current, {key: first[key] for key in made}, actor=actor)
    moved = [
        key
        for key, (customer, _) in current.items()
        if customer.parent_customer_id is not None and _parent(stored, key) != customer.parent_customer_id
    ]
    circles = await storage.own_ancestors(conn, tenant_id, moved) if moved else set()
    return outcomes, [place for place, each in sound.items() if each.customer_id in circles]


async def _without_parent(conn: AsyncConnection, tenant_id: UUID, sound: dict[int, CustomerChanged]) -> list[int]:
    """The places of those whose parent is neither known nor among the others of the slice that have theirs."""
    parents = {each.parent_customer_id for each in sound.values() if each.parent_customer_id is not None}
    there = set(await storage.customers_billed(conn, tenant_id, parents)) if parents else set()
    left = dict(sound)
    while True:
        known = there | {each.customer_id for each in left.values()}
        lost = [place for place, each in left.items() if each.parent_customer_id is not None and each.parent_customer_id not in known]
        if not lost:
            return sorted(sound.keys() - left.keys())
        for place in lost:
            del left[place]


def _kept(row: Row[Any], identity: Row[Any] | None) -> Kept:
    customer = msgspec.convert({name: value for name, value in _fields(row).items() if name in _CUSTOMER}, CustomerChanged)
    if identity is None:
        return customer, None
    return customer, msgspec.convert({**_fields(identity), "version": row.version}, CustomerIdentityChanged)


def _fields(row: Row[Any]) -> dict[str, Any]:
    return {name: msgspec.json.decode(value) if name in _DECODED and value is not None else value for name, value in as_dict(row).items()}


def _merged(each: TakenCustomer, customer: CustomerChanged, identity: CustomerIdentityChanged, before: Kept) -> Kept:
    """What is known, with what the file says in its place."""
    was, who = before
    after = msgspec.structs.replace(was, **{name: getattr(customer, name) for name in _CUSTOMER if name in each.said})
    if who is None:
        return after, msgspec.structs.replace(identity, version=was.version)
    return after, msgspec.structs.replace(who, **{name: getattr(identity, name) for name in _IDENTITY if name in each.said})


def _parent(stored: dict[UUID, Kept], key: UUID) -> UUID | None:
    return stored[key][0].parent_customer_id if key in stored else None


async def _write(
    conn: AsyncConnection,
    tenant_id: UUID,
    stored: dict[UUID, Kept],
    current: dict[UUID, Kept],
    made: dict[UUID, CustomerChanged],
    *,
    actor: str,
) -> None:
    """Writes what differs from what is there (`stored`, or just inserted: `made`), and publishes it and what is new."""
    new = [current[key] for key in sorted(made)]
    corrected = [customer for customer, _ in new if customer != made[customer.customer_id]]
    customers, named = [], []
    touched: list[CustomerChanged] = []
    for key in sorted(stored):
        (was, who), (customer, identity) = stored[key], current[key]
        if (customer, identity) == (was, who):
            continue
        versioned = msgspec.structs.replace(customer, version=was.version + 1)
        touched.append(versioned)
        if customer != was:
            customers.append(versioned)
        if identity is not None and identity != who:
            named.append(msgspec.structs.replace(identity, version=was.version + 1))
    if corrected or touched:
        await storage.update_customers(conn, tenant_id, [*corrected, *touched])
    if new:
        identities = [identity for _, identity in new if identity is not None]
        await store(conn, tenant_id, [customer for customer, _ in new], identities, actor=actor, action="customer.created")
    if touched:
        await store(conn, tenant_id, customers, named, actor=actor, action="customer.changed")
