"""Payment instructions: where and with which reference an invoice of a source is to be paid."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Item
from matching.storage.rows import fetch


@dataclass(frozen=True, slots=True)
class Instruction:
    """Where an invoice is to be paid."""

    instruction_id: UUID
    entity_id: UUID
    bank_account_id: UUID
    source_system: str
    invoice_number: str
    customer_id: UUID
    virtual_iban_id: UUID
    virtual_iban: str
    holder_name: str
    reference: str
    invoice_id: UUID | None


class Met(NamedTuple):
    """An invoice for which there is an instruction."""

    tenant_id: UUID
    item_id: UUID
    entity_id: UUID
    instruction_id: UUID
    virtual_iban_id: UUID
    reference: str


async def hold(conn: AsyncConnection, instruction_id: UUID) -> None:
    """Until the end of the transaction: the same question asked twice at once is answered one after the other."""
    await fetch(conn, "SELECT pg_advisory_xact_lock(hashtextextended(:id, 4))", id=str(instruction_id))


async def find(conn: AsyncConnection, tenant_id: UUID, instruction_id: UUID) -> Instruction | None:
    """An instruction, None where there is none."""
    rows = await fetch(
        conn,
        "SELECT p.instruction_id, p.entity_id, p.bank_account_id, p.source_system, p.invoice_number, p.customer_id, p.virtual_iban_id, "
        "v.iban, v.holder_name, p.reference, p.invoice_id FROM payment_instruction p "
        "JOIN virtual_iban v USING (tenant_id, virtual_iban_id) WHERE p.tenant_id = :tenant AND p.instruction_id = :id",
        tenant=tenant_id,
        id=instruction_id,
    )
    return Instruction(*rows[0]) if rows else None


async def is_payable(conn: AsyncConnection, tenant_id: UUID, virtual_iban_id: UUID, invoice_id: UUID) -> bool:
    """Whether a virtual IBAN is an invoice's still: neither released nor given to another party since."""
    return bool(
        await fetch(
            conn,
            "SELECT 1 FROM virtual_iban WHERE tenant_id = :tenant AND virtual_iban_id = :id AND invoice_id = :invoice "
            "AND status = 'assigned'",
            tenant=tenant_id,
            id=virtual_iban_id,
            invoice=invoice_id,
        )
    )


async def renew(conn: AsyncConnection, tenant_id: UUID, instruction_id: UUID, virtual_iban_id: UUID) -> None:
    """An instruction names another virtual IBAN from now on, or its own again."""
    await run(
        conn,
        "UPDATE payment_instruction SET virtual_iban_id = :virtual WHERE tenant_id = :tenant AND instruction_id = :id",
        tenant=tenant_id,
        id=instruction_id,
        virtual=virtual_iban_id,
    )


async def insert(conn: AsyncConnection, tenant_id: UUID, given: Instruction, now: datetime) -> None:
    """Stores an instruction; an invoice that is there already is found by its reference from now on."""
    await run(
        conn,
        "INSERT INTO payment_instruction (tenant_id, instruction_id, entity_id, bank_account_id, source_system, invoice_number, "
        "customer_id, virtual_iban_id, reference, invoice_id, created_at) VALUES (:tenant, :id, :entity, :account, "
        ":source, :number, :customer, :virtual, :reference, :invoice, :now)",
        tenant=tenant_id,
        id=given.instruction_id,
        entity=given.entity_id,
        account=given.bank_account_id,
        source=given.source_system,
        number=given.invoice_number,
        customer=given.customer_id,
        virtual=given.virtual_iban_id,
        reference=given.reference,
        invoice=given.invoice_id,
        now=now,
    )
    if given.invoice_id is not None:
        await run(
            conn,
            "INSERT INTO item_reference (tenant_id, entity_id, value, kind, item_id) "
            "VALUES (:tenant, :entity, :value, 'structured', :item) ON CONFLICT DO NOTHING",
            tenant=tenant_id,
            entity=given.entity_id,
            value=given.reference,
            item=given.invoice_id,
        )


async def reference_taken(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, reference: str) -> bool:
    """Whether a reference names something of an entity already."""
    return bool(
        await fetch(
            conn,
            "SELECT 1 FROM payment_instruction WHERE tenant_id = :tenant AND entity_id = :entity AND reference = :value UNION ALL "
            "SELECT 1 FROM item_reference WHERE tenant_id = :tenant AND entity_id = :entity AND value = :value AND kind = 'structured'",
            tenant=tenant_id,
            entity=entity_id,
            value=reference,
        )
    )


async def meet(conn: AsyncConnection, items: Sequence[Item]) -> list[Met]:
    """Instructions for invoices that have come name them from now on; returns these, by tenant and virtual IBAN."""
    rows = await fetch(
        conn,
        "SELECT t.tenant_id, t.item_id, p.entity_id, p.instruction_id, p.virtual_iban_id, p.reference "
        "FROM unnest(CAST(:tenants AS uuid[]), CAST(:items AS uuid[]), CAST(:entities AS uuid[]), CAST(:sources AS text[]), "
        "CAST(:numbers AS text[])) AS t(tenant_id, item_id, entity_id, source, number) JOIN payment_instruction p "
        "ON p.tenant_id = t.tenant_id AND p.entity_id = t.entity_id AND p.source_system = t.source AND p.invoice_number = t.number "
        "ORDER BY 1, 5",
        tenants=[item.tenant_id for item in items],
        items=[item.item_id for item in items],
        entities=[item.entity_id for item in items],
        sources=[item.source_system for item in items],
        numbers=[item.invoice_number for item in items],
    )
    met = [Met(*row) for row in rows]
    if met:
        await run(
            conn,
            "UPDATE payment_instruction p SET invoice_id = t.item FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), "
            "CAST(:items AS uuid[])) AS t(tenant, id, item) WHERE p.tenant_id = t.tenant AND p.instruction_id = t.id "
            "AND p.invoice_id IS DISTINCT FROM t.item",
            tenants=[one.tenant_id for one in met],
            ids=[one.instruction_id for one in met],
            items=[one.item_id for one in met],
        )
    return met
