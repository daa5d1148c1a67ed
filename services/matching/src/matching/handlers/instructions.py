"""Payment instructions: where and with which reference an invoice is to be paid, before the invoice exists.

Rules:
- asked by the source's own invoice number and customer, answered with a virtual IBAN of the pool and an RF reference
  (ISO 11649); the same question has the same answer, for another customer it is refused;
- the virtual IBAN names the customer from then on, and the invoice once it comes, whose item the reference names too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.db import run
from shared.ids import named_id
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection
from stdnum.iso7064 import mod_97_10

from matching.domain.books import Item
from matching.domain.references import normalised
from matching.handlers import accounts
from matching.storage.rows import fetch

REFERENCE_MAX = 21
"""Characters of an RF reference after its check digits."""
_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


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


_FIND = (
    "SELECT p.instruction_id, p.entity_id, p.bank_account_id, p.source_system, p.invoice_number, p.customer_id, p.virtual_iban_id, v.iban, "
    "v.holder_name, p.reference, p.invoice_id FROM payment_instruction p JOIN virtual_iban v USING (tenant_id, virtual_iban_id) "
    "WHERE p.tenant_id = :tenant AND p.instruction_id = :id"
)


def creditor_reference(body: str) -> str:
    """The RF reference (ISO 11649) of up to 21 letters and digits."""
    return f"RF{mod_97_10.calc_check_digits(body + 'RF')}{body}"


async def instruct(
    conn: AsyncConnection,
    tenant_id: UUID,
    *,
    bank_account_id: UUID,
    source_system: str,
    invoice_number: str,
    customer_number: str,
    quarantine_days: int,
    now: datetime,
) -> Instruction:
    """The instruction for an invoice of a source, made where it is not there.

    Raises Problem: 404 for an unknown account, 409 for an empty pool or an invoice that is another customer's.
    """
    account = await fetch(
        conn,
        "SELECT entity_id, holder_name FROM bank_account WHERE tenant_id = :tenant AND bank_account_id = :id",
        tenant=tenant_id,
        id=bank_account_id,
    )
    if not account:
        raise Problem(404, "account-unknown", "There is no such bank account")
    entity_id, holder_name = account[0]
    instruction_id = named_id("payment_instruction", tenant_id, entity_id, source_system, invoice_number)
    customer_id = named_id("customer", tenant_id, source_system, customer_number)  # as invoicing names it
    await fetch(conn, "SELECT pg_advisory_xact_lock(hashtextextended(:id, 4))", id=str(instruction_id))
    there = await fetch(conn, _FIND, tenant=tenant_id, id=instruction_id)
    if there:
        found = Instruction(*there[0])
        if found.customer_id != customer_id:
            raise Problem(409, "invoice-is-anothers", "The invoice has an instruction for another customer")
        return found
    held = await fetch(
        conn,
        "SELECT item_id FROM open_item WHERE tenant_id = :tenant AND customer_id = :customer AND entity_id = :entity "
        "AND source_system = :source AND invoice_number = :number",
        tenant=tenant_id,
        customer=customer_id,
        entity=entity_id,
        source=source_system,
        number=invoice_number,
    )
    invoice_id = held[0][0] if held else None
    given = await accounts.assign(
        conn,
        tenant_id,
        bank_account_id,
        customer_id=None,
        # a stand-in until the invoice comes: what it will be called where the source's id is its number
        invoice_id=invoice_id or named_id("invoice", tenant_id, entity_id, source_system, invoice_number),
        holder_name=holder_name,
        quarantine_days=quarantine_days,
        now=now,
    )
    if given is None:
        raise Problem(409, "pool-empty", "The account's pool of virtual IBANs is empty")
    reference = await _reference(conn, tenant_id, entity_id, instruction_id, invoice_number)
    await run(
        conn,
        "INSERT INTO payment_instruction (tenant_id, instruction_id, entity_id, bank_account_id, source_system, invoice_number, "
        "customer_id, virtual_iban_id, reference, invoice_id, created_at) VALUES (:tenant, :id, :entity, :account, "
        ":source, :number, :customer, :virtual, "
        ":reference, :invoice, :now)",
        tenant=tenant_id,
        id=instruction_id,
        entity=entity_id,
        account=bank_account_id,
        source=source_system,
        number=invoice_number,
        customer=customer_id,
        virtual=given.virtual_iban_id,
        reference=reference,
        invoice=invoice_id,
        now=now,
    )
    if invoice_id is not None:
        await run(
            conn,
            "INSERT INTO item_reference (tenant_id, entity_id, value, kind, item_id) "
            "VALUES (:tenant, :entity, :value, 'structured', :item) ON CONFLICT DO NOTHING",
            tenant=tenant_id,
            entity=entity_id,
            value=reference,
            item=invoice_id,
        )
    return Instruction(*(await fetch(conn, _FIND, tenant=tenant_id, id=instruction_id))[0])


async def _reference(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, instruction_id: UUID, invoice_number: str) -> str:
    """An RF reference that names nothing else of the entity: of the invoice's number, or of the instruction's id."""
    body = normalised(invoice_number)
    if 0 < len(body) <= REFERENCE_MAX:
        reference = creditor_reference(body)
        taken = await fetch(
            conn,
            "SELECT 1 FROM payment_instruction WHERE tenant_id = :tenant AND entity_id = :entity AND reference = :value UNION ALL "
            "SELECT 1 FROM item_reference WHERE tenant_id = :tenant AND entity_id = :entity AND value = :value AND kind = 'structured'",
            tenant=tenant_id,
            entity=entity_id,
            value=reference,
        )
        if not taken:
            return reference
    number, digits = instruction_id.int, ""
    while len(digits) < REFERENCE_MAX:
        number, rest = divmod(number, 36)
        digits += _BASE36[rest]
    return creditor_reference(digits)


async def meet_instructions(conn: AsyncConnection, items: Sequence[Item]) -> list[tuple[UUID, UUID, str, str, UUID]]:
    """Invoices have come: instructions for them name them, and so do their virtual IBANs; returns their structured references."""
    if not items:
        return []
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
    if not rows:
        return []
    tenants, found = [row[0] for row in rows], [row[1] for row in rows]
    await run(
        conn,
        "UPDATE payment_instruction p SET invoice_id = t.item FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), "
        "CAST(:items AS uuid[])) AS t(tenant, id, item) WHERE p.tenant_id = t.tenant AND p.instruction_id = t.id "
        "AND p.invoice_id IS DISTINCT FROM t.item",
        tenants=tenants,
        ids=[row[3] for row in rows],
        items=found,
    )
    await accounts.reassign(conn, [(row[0], row[4], row[1]) for row in rows])
    return [(row[0], row[2], row[5], "structured", row[1]) for row in rows]
