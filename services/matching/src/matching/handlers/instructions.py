"""Payment instructions: where and with which reference an invoice is to be paid, before the invoice exists.

Rules:
- asked by the source's own invoice number and customer, answered with a virtual IBAN of the pool and an RF reference
  (ISO 11649); the same question has the same answer, for another customer it is refused, unless one stands for the other;
- one whose virtual IBAN was released gets it again, or another one where that is somebody else's by now;
- the virtual IBAN names the customer from then on, and the invoice once it comes, whose item the reference names too.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from shared.aliases import stands_for
from shared.ids import named_id
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection
from stdnum.iso7064 import mod_97_10

from matching.domain.books import Item
from matching.domain.references import normalised
from matching.handlers import accounts
from matching.storage import bank, instructions, items
from matching.storage.instructions import Instruction

REFERENCE_MAX = 21
"""Characters of an RF reference after its check digits."""
_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


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
    held = await bank.account_by_id(conn, tenant_id, bank_account_id)
    if held is None:
        raise Problem(404, "account-unknown", "There is no such bank account")
    entity_id = held.entity_id
    instruction_id = named_id("payment_instruction", tenant_id, entity_id, source_system, invoice_number)
    customer_id = named_id("customer", tenant_id, source_system, customer_number)  # as invoicing names it
    debtor_id = await stands_for(conn, tenant_id, customer_id)
    await instructions.hold(conn, instruction_id)
    there = await instructions.find(conn, tenant_id, instruction_id)
    if there is not None and await stands_for(conn, tenant_id, there.customer_id) != debtor_id:
        raise Problem(409, "invoice-is-anothers", "The invoice has an instruction for another customer")
    number = (entity_id, source_system, invoice_number)
    invoice_id = there.invoice_id if there else await items.item_numbered(conn, tenant_id, entity_id, debtor_id, *number[1:])
    party = invoice_id or named_id("invoice", tenant_id, *number)  # a stand-in until it comes: where the source's id is its number
    if there is not None and await instructions.is_payable(conn, tenant_id, there.virtual_iban_id, party):
        return there
    given = await accounts.assign(
        conn,
        tenant_id,
        bank_account_id,
        customer_id=None,
        invoice_id=party,
        holder_name=held.holder_name,
        quarantine_days=quarantine_days,
        now=now,
    )
    if given is None:
        raise Problem(409, "pool-empty", "The account's pool of virtual IBANs is empty")
    if there is not None:
        await instructions.renew(conn, tenant_id, instruction_id, given.virtual_iban_id)
        return replace(there, virtual_iban_id=given.virtual_iban_id, virtual_iban=given.virtual_iban, holder_name=held.holder_name)
    made = Instruction(
        instruction_id,
        entity_id,
        bank_account_id,
        source_system,
        invoice_number,
        customer_id,
        given.virtual_iban_id,
        given.virtual_iban,
        held.holder_name,
        await _reference(conn, tenant_id, entity_id, instruction_id, invoice_number),
        invoice_id,
    )
    await instructions.insert(conn, tenant_id, made, now)
    return made


async def _reference(conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, instruction_id: UUID, invoice_number: str) -> str:
    """An RF reference that names nothing else of the entity: of the invoice's number, or of the instruction's id."""
    body = normalised(invoice_number)
    if 0 < len(body) <= REFERENCE_MAX:
        reference = creditor_reference(body)
        if not await instructions.reference_taken(conn, tenant_id, entity_id, reference):
            return reference
    number, digits = instruction_id.int, ""
    while len(digits) < REFERENCE_MAX:
        number, rest = divmod(number, 36)
        digits += _BASE36[rest]
    return creditor_reference(digits)


async def meet_instructions(conn: AsyncConnection, come: Sequence[Item]) -> list[tuple[UUID, UUID, str, str, UUID]]:
    """Invoices have come: instructions for them name them, and so do their virtual IBANs; returns their structured references."""
    met = await instructions.meet(conn, come) if come else []
    if met:
        await accounts.reassign(conn, [(one.tenant_id, one.virtual_iban_id, one.item_id) for one in met])
    return [(one.tenant_id, one.entity_id, one.reference, "structured", one.item_id) for one in met]
