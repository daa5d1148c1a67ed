"""Money that came in and that nobody owed: tax refunds, interest, transfers of one's own.

Rules:
- a payment is set apart whole, once it is booked and while all of it is unapplied: it leaves the sub-ledger (PaymentReturned, reason
  `no_receivable`) through the ledger account `other_receipts`, and waits for nobody;
- what it came from and under which name is learnt: of the next ones the engine says so itself, once enough have been set apart and nothing
  else was ever known by it;
- unmatching one brings it back, and forgets what had been learnt of its account and name.
"""

from datetime import datetime
from uuid import UUID

import msgspec
from shared.clock import machine_now
from shared.web.problems import Problem
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Payment
from matching.domain.engine.index import written_keys
from matching.domain.engine.parties import PREFIX_MIN
from matching.domain.engine.records import NOBODY
from matching.domain.rows import NO_RECEIVABLE
from matching.handlers.payments import lock_with_items
from matching.handlers.publishing import save_and_publish
from matching.storage.books import Decided
from matching.storage.parties import forget_nobody, learn_payer, look_again_at
from matching.storage.refunds import payer_of

SET_APART = "set_apart"
"""The rule of what a person has set apart; the engine's is NO_RECEIVABLE."""
_JSON = msgspec.json.Encoder().encode


async def set_apart(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, *, by: str, now: datetime) -> Payment:
    """A person says that a payment is no receivable. Raises Problem: 404, or 409 where it is not booked, or some of it is not unapplied."""
    key = (tenant_id, payment_id)
    books = await lock_with_items(conn, [key])
    payment = books.payments.get(key)
    if payment is None:
        raise Problem(404, "payment-unknown", "There is no such payment")
    if payment.return_reason == NO_RECEIVABLE:
        return payment
    if payment.confirmation != "booked":
        raise Problem(409, "payment-not-booked", "No statement of the bank has the payment yet")
    if payment.unapplied_minor != payment.amount_minor:
        raise Problem(409, "payment-not-free", "Some of the payment is allocated, refunded or returned", "Undo that first.")
    books.set_apart(payment)
    evidence = _JSON({"by": by}).decode()
    decision = Decided(*key, payment.version + 1, SET_APART, evidence)
    await save_and_publish(conn, books, now, {}, decisions=[decision], looks={key: None})
    await learn_payer(conn, tenant_id, payment_id, NOBODY, by=by)
    name, iban, _ = await payer_of(conn, tenant_id, payment_id)
    starts = sorted({(tenant_id, key[:PREFIX_MIN]) for key in written_keys(name or "")})
    await look_again_at(conn, [(tenant_id, iban)] if iban else [], machine_now(), starts)  # others that wait may be sure by now
    return payment


async def take_in(conn: AsyncConnection, tenant_id: UUID, payment_id: UUID, now: datetime) -> Payment | None:
    """It is a receivable after all, and is looked at anew; None where there is no such payment that was set apart."""
    key = (tenant_id, payment_id)
    books = await lock_with_items(conn, [key])
    payment = books.payments.get(key)
    if payment is None or payment.return_reason != NO_RECEIVABLE:
        return None
    books.take_in(payment)
    await forget_nobody(conn, tenant_id, payment_id)
    await save_and_publish(conn, books, now, {}, looks={key: machine_now()})
    return payment
