"""Erasure of personal data: POST /v1/customers/{customer_id}/erase."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel
from shared.web.auth import Caller, requires
from shared.web.route import Router

from invoicing.api.commands import shown
from invoicing.api.edge import problem_of, runtime_of
from invoicing.handlers import erasure as handlers
from invoicing.handlers.refusals import Refusal

ROUTER = Router(prefix="/v1/customers", tags=["customers"])


class KeptView(BaseModel):
    """What is not erased, and on which ground."""

    what: str
    ground: str


class ErasureView(BaseModel):
    """A customer whose personal data were erased."""

    model_config = shown(
        {
            "customer_id": "ec8c3f77-c9c2-5217-a19c-c19e352c07cc",
            "version": 7,
            "erased_on": "2036-04-16",
            "kept": [{"what": "files that invoices came in", "ground": "vouchers, kept with the accounts (GDPR, article 17(3)(b))"}],
        }
    )

    customer_id: UUID
    version: int
    erased_on: date
    kept: list[KeptView]


@ROUTER.post("/{customer_id}/erase")
async def erase_customer(customer_id: UUID, request: Request, caller: Annotated[Caller, requires("customers:write")]) -> ErasureView:
    """Erases a customer's names, addresses, contacts and IBANs in every service, for good; the same again changes nothing.

    Refused (409) with each reason in `errors`: something is owed either way (`owed`, `owed-to-customer`, `balance-unknown`), or the
    law has it kept (`retention`, `retention-unknown`). Customers merged into it are erased with it. It cannot be undone.
    """
    runtime = runtime_of(request)
    async with runtime.database.transaction(caller.tenant_id) as conn:
        try:
            row = await handlers.erase(conn, caller.tenant_id, customer_id, now=runtime.clock.now(), actor=caller.subject)
        except Refusal as refusal:
            raise problem_of(refusal) from None
    return ErasureView(
        customer_id=row.customer_id,
        version=row.version,
        erased_on=row.erased_on,
        kept=[KeptView(what=what, ground=ground) for what, ground in handlers.KEPT],
    )
