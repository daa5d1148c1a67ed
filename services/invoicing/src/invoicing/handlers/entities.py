"""Legal entities: who sells. What a file names as its seller must be one of them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from contracts.fields import CompanyId
from shared import audit
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from invoicing.domain.einvoice import Party
from invoicing.drafts import identifier
from invoicing.handlers.refusals import Refusal, refused_at
from invoicing.storage import entities as storage

_NAME_SHOWN = 120


async def put_entity(
    conn: AsyncConnection, tenant_id: UUID, values: dict[str, Any], company_ids: Sequence[CompanyId], *, actor: str
) -> None:
    """Enters or changes an entity. `values` are its columns but `company_ids` and what follows from them."""
    identifiers = {identifier(each.scheme, each.value) for each in company_ids}
    if values.get("vat_id"):
        identifiers.add(identifier("vat", values["vat_id"]))
    wanted = sorted({f"{scheme}:{value}" for scheme, value in identifiers} | {f":{value}" for _, value in identifiers})
    await storage.put_entity(
        conn, tenant_id, {**values, "company_ids": msgspec.json.encode(list(company_ids)).decode(), "identifiers": wanted}
    )
    await audit.record(conn, tenant_id, [(actor, "entity.put", str(values["entity_id"]), {})])


async def find_seller(conn: AsyncConnection, tenant_id: UUID, seller: Party) -> Row[Any]:
    """The entity that a file names as its seller: by the first of its identifiers that exactly one of ours bears.

    Raises Refusal naming the seller where it is none of ours, or where only numbers that several entities share are given.
    """
    [found] = await find_sellers(conn, tenant_id, [seller])
    if isinstance(found, Refusal):
        raise found
    return found


async def find_sellers(conn: AsyncConnection, tenant_id: UUID, sellers: Sequence[Party]) -> list[Row[Any] | Refusal]:
    """As `find_seller` for many files, in order, with one statement."""
    wanted = [[":".join(identifier(*pair)) for pair in seller.identifiers] for seller in sellers]
    every = sorted({each for numbers in wanted for each in numbers})
    rows = await storage.entities_with(conn, tenant_id, every) if every else []
    return [_seller(seller, numbers, rows) for seller, numbers in zip(sellers, wanted, strict=True)]


def _seller(seller: Party, numbers: Sequence[str], rows: Sequence[Row[Any]]) -> Row[Any] | Refusal:
    shared = False
    for each in numbers:
        bearers = [row for row in rows if each in row.identifiers]
        if len(bearers) == 1:
            return bearers[0]
        shared = shared or len(bearers) > 1
    name = "".join(char if char.isprintable() else " " for char in (seller.name or "without a name"))[:_NAME_SHOWN]
    where = "/AccountingSupplierParty/Party"
    if shared:
        return refused_at(where, "seller-ambiguous", f"several of our legal entities bear the numbers of the seller {name}")
    return refused_at(where, "seller-unknown", f"the seller {name} is none of our legal entities")
