"""Customers: entered by the ERP, or made unconfirmed because an invoice names somebody nobody has entered.

Invariants: a customer's id is drawn from its source's own number; CustomerChanged and CustomerIdentityChanged share one
version; what did not change is not published.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from contracts.customers import CustomerChanged, CustomerIdentityChanged
from contracts.fields import CompanyId
from shared import audit
from shared.clock import machine_now
from shared.ids import named_id
from shared.outbox import Outgoing, publish
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.drafts import Buyer, Draft, identifier
from invoicing.handlers.refusals import Refusal, refused_at
from invoicing.storage import customers as storage
from invoicing.storage.rows import as_dict

_SCHEME = re.compile(r"[A-Za-z0-9:_-]{1,32}")
_UNSTATED = "unstated"
"""The scheme of a register number whose file does not say which register."""


async def put_customer(
    conn: AsyncConnection,
    tenant_id: UUID,
    customer: CustomerChanged,
    identity: CustomerIdentityChanged,
    *,
    actor: str,
    seen: Callable[[int | None], None] = lambda _: None,
) -> tuple[int, bool]:
    """Enters or changes a customer (its `version` is ignored); returns the version it has now and whether it is new.

    What is the same as before is neither written nor published. `seen` is told the version that is there, under its lock (None:
    none), and may refuse. Raises Refusal where the number is another's, the group's parents would form a circle, or the customer
    was erased.
    """
    customer_id = customer.customer_id
    if customer.parent_customer_id is not None:
        await storage.hold_relations(conn, tenant_id)
    first = msgspec.structs.replace(customer, version=1)
    if await storage.insert_customers(conn, tenant_id, [first]):
        seen(None)
        await _check_parent(conn, tenant_id, first)
        await store(conn, tenant_id, [first], [msgspec.structs.replace(identity, version=1)], actor=actor, action="customer.created")
        return 1, True
    row = await storage.lock_customer(conn, tenant_id, customer_id)
    if row is None:
        raise refused_at("/customer_number", "customer-number-taken", "another customer has this number", 409)
    seen(row.version)
    if row.erased_on is not None:
        raise Refusal(409, "customer-erased", "the customer's personal data were erased: nothing new is kept of it")
    known = msgspec.convert(_fields(row), CustomerChanged)
    was = await storage.identity(conn, tenant_id, customer_id)
    known_identity = None if was is None else msgspec.convert({**_fields(was), "version": row.version}, CustomerIdentityChanged)
    changed = msgspec.structs.replace(customer, version=row.version) != known
    renamed = known_identity is None or msgspec.structs.replace(identity, version=row.version) != known_identity
    if not changed and not renamed:
        return row.version, False
    version = row.version + 1
    now = msgspec.structs.replace(customer, version=version)
    await storage.update_customer(conn, tenant_id, now)
    if now.parent_customer_id != known.parent_customer_id:
        await _check_parent(conn, tenant_id, now)
    identities = [msgspec.structs.replace(identity, version=version)] if renamed else []
    await store(conn, tenant_id, [now] if changed else [], identities, actor=actor, action="customer.changed")
    return version, False


async def _check_parent(conn: AsyncConnection, tenant_id: UUID, customer: CustomerChanged) -> None:
    parent = customer.parent_customer_id
    if parent is None:
        return
    if not await storage.customers_billed(conn, tenant_id, [parent]):
        raise refused_at("/parent_customer_id", "parent-unknown", "the group's parent is none of our customers")
    if await storage.is_own_ancestor(conn, tenant_id, customer.customer_id):
        raise refused_at("/parent_customer_id", "parent-circle", "the customer would be its own parent", 409)


def _fields(row: Row[Any]) -> dict[str, Any]:
    decoded = {"company_ids", "address", "contacts", "known_ibans", "addresses"}
    return {name: msgspec.json.decode(value) if name in decoded and value is not None else value for name, value in as_dict(row).items()}


async def store(
    conn: AsyncConnection,
    tenant_id: UUID,
    customers: Sequence[CustomerChanged],
    identities: Sequence[CustomerIdentityChanged],
    *,
    actor: str,
    action: str,
) -> None:
    """What follows from customers and identities that were written under their locks: numbers, history, audit, events."""
    if customers:
        await storage.write_identifiers(conn, tenant_id, customers)
    if identities:
        await storage.write_identities(conn, tenant_id, identities)
    touched = {each.customer_id: each.version for each in customers} | {each.customer_id: each.version for each in identities}
    entries = [(actor, action, str(customer_id), {"version": version}) for customer_id, version in touched.items()]
    await audit.record(conn, tenant_id, entries)
    await storage.note_history(conn, tenant_id, touched, now=machine_now(), actor=actor, action=action)
    await publish(conn, [Outgoing(tenant_id, each) for each in (*customers, *identities)])


async def find_buyers(
    conn: AsyncConnection, tenant_id: UUID, drafts: Sequence[Draft], entities: Mapping[UUID, Row[Any]], *, actor: str
) -> list[Row[Any] | Refusal]:
    """The customer that each draft bills, in order: by our id or the ERP's number, else by register number, else made
    unconfirmed where the entity's `unknown_buyer` is `create`, else a refusal. At most a handful of statements.

    Whoever was merged is found by his own numbers, and billed is who stands for him. Of an erased customer no new business is
    taken.

    A register number that several customers bear, none of them of the draft's own source, is refused: money on the wrong
    customer is worse than an invoice that waits.
    """
    keys = [_candidates(tenant_id, draft) for draft in drafts]
    wanted = {key for candidates in keys for key in candidates}
    known = await storage.customers_billed(conn, tenant_id, wanted) if wanted else {}
    found: list[Row[Any] | Refusal | None] = [next((known[key] for key in candidates if key in known), None) for candidates in keys]
    values = {identifier(*pair)[1]: None for place, draft in enumerate(drafts) if found[place] is None for pair in draft.buyer.company_ids}
    if values:
        bearers = await storage.customers_bearing(conn, tenant_id, values)
        found = [row or _bearer(draft, bearers) for row, draft in zip(found, drafts, strict=True)]
    made = await _make_unknown(conn, tenant_id, drafts, found, entities, actor=actor)
    return [
        _billable(row if row is not None else made.get(_new_id(tenant_id, draft)) or _unknown(draft))
        for row, draft in zip(found, drafts, strict=True)
    ]


def _billable(row: Row[Any] | Refusal) -> Row[Any] | Refusal:
    if isinstance(row, Refusal) or not row.erased:
        return row
    return refused_at("/customer_number", "buyer-erased", "the buyer's personal data were erased: it is to be entered under a new number")


def _candidates(tenant_id: UUID, draft: Draft) -> list[UUID]:
    if draft.buyer.customer_id is not None:
        return [draft.buyer.customer_id]
    return [named_id("customer", tenant_id, draft.source_system, number) for number in draft.buyer.numbers]


def _bearer(draft: Draft, bearers: Sequence[Row[Any]]) -> Row[Any] | Refusal | None:
    for scheme, value in (identifier(*pair) for pair in draft.buyer.company_ids):
        matching = {
            row.customer_id: row
            for row in sorted(bearers, key=lambda row: row.named_id == row.customer_id)  # of merged ones the survivor's own word
            if row.value == value and (scheme == row.scheme or "" in {scheme, row.scheme} or _UNSTATED in {scheme, row.scheme})
        }
        own = [row for row in matching.values() if row.source_system == draft.source_system]
        rows = own or list(matching.values())
        if len(rows) > 1:
            rows = [row for row in rows if row.status == "confirmed"] or rows
        if len(rows) > 1:
            return refused_at("/customer_number", "buyer-ambiguous", "several customers bear the buyer's register number")
        if rows:
            return rows[0]
    return None


async def _make_unknown(
    conn: AsyncConnection,
    tenant_id: UUID,
    drafts: Sequence[Draft],
    found: Sequence[Row[Any] | Refusal | None],
    entities: Mapping[UUID, Row[Any]],
    *,
    actor: str,
) -> dict[UUID, Row[Any]]:
    new: dict[UUID, Draft] = {}
    for row, draft in zip(found, drafts, strict=True):
        if row is None and draft.buyer.customer_id is None and entities[draft.entity_id].unknown_buyer == "create":
            new.setdefault(_new_id(tenant_id, draft), draft)
    if not new:
        return {}
    customers = {customer_id: _unconfirmed(customer_id, draft) for customer_id, draft in new.items()}
    made = await storage.insert_customers(conn, tenant_id, list(customers.values()))
    identities = [
        CustomerIdentityChanged(version=1, customer_id=customer_id, name=draft.buyer.name, address=draft.buyer.address)
        for customer_id, draft in new.items()
        if customer_id in made and draft.buyer.name
    ]
    made_now = [customers[customer_id] for customer_id in sorted(made)]
    await store(conn, tenant_id, made_now, identities, actor=actor, action="customer.created-unconfirmed")
    return await storage.customers_billed(conn, tenant_id, new)


def _new_id(tenant_id: UUID, draft: Draft) -> UUID:
    return named_id("customer", tenant_id, draft.source_system, _new_number(draft.buyer))


def _new_number(buyer: Buyer) -> str:
    """The number of a customer nobody has entered: the file's, else a register number, else drawn from name and address
    (hashed, since numbers travel in public events and names do not).
    """
    if buyer.numbers:
        return buyer.numbers[0]
    if buyer.company_ids:
        scheme, value = identifier(*buyer.company_ids[0])
        return f"{scheme or _UNSTATED}:{value}"
    described = msgspec.json.encode([(buyer.name or "").casefold(), buyer.address])
    return f"unnamed:{hashlib.sha256(described).hexdigest()[:20]}"


def _unconfirmed(customer_id: UUID, draft: Draft) -> CustomerChanged:
    pairs = dict.fromkeys(draft.buyer.company_ids)
    return CustomerChanged(
        version=1,
        customer_id=customer_id,
        source_system=draft.source_system,
        customer_number=_new_number(draft.buyer),
        status="unconfirmed",
        company_ids=[CompanyId(scheme=scheme if _SCHEME.fullmatch(scheme) else _UNSTATED, value=value) for scheme, value in pairs],
        country=draft.buyer.country,
    )


def _unknown(draft: Draft) -> Refusal:
    where = "/customer_id" if draft.buyer.customer_id is not None else "/customer_number"
    return refused_at(where, "customer-unknown", "the buyer is none of our customers")
