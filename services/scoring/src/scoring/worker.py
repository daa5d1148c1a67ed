"""What the worker does: which handler takes which event, and which jobs run."""

from uuid import UUID

from contracts.customers import CustomerChanged, CustomerErased, CustomerIdentityChanged, CustomerMerged, CustomerUnmerged
from contracts.dunning import (
    DisputeOpened,
    DisputeResolved,
    PaymentPlanAgreed,
    PaymentPlanBroken,
    PaymentPlanCancelled,
    PaymentPlanCompleted,
    PromiseBroken,
    PromiseCancelled,
    PromiseKept,
    PromiseMade,
)
from contracts.invoices import CreditNoteIssued, InvoiceCancelled, InvoiceChanged, InvoiceIssued
from contracts.items import AccountBalanceChanged, OpenItemChanged
from contracts.payments import PaymentReturned
from shared.batches import Routes
from shared.days import business_day
from shared.jobs import Job, JobContext
from shared.outbox import depth

from scoring.handlers import credit, history
from scoring.storage.credit import DUE, claim, policy_of

SLICE = 500
OUTBOX_MOST = 20_000

ROUTES: Routes = {
    CustomerChanged: history.keep_customers,
    CustomerIdentityChanged: history.keep_identities,
    CustomerMerged: history.keep_merges,
    CustomerUnmerged: history.keep_merges,
    CustomerErased: history.keep_erasures,
    InvoiceIssued: history.keep_invoices,
    InvoiceChanged: history.keep_invoices,
    InvoiceCancelled: history.keep_invoices,
    CreditNoteIssued: history.keep_invoices,
    OpenItemChanged: history.keep_items,
    AccountBalanceChanged: history.keep_accounts,
    PaymentReturned: history.keep_returns,
    PromiseMade: history.keep_promises,
    PromiseKept: history.keep_promises,
    PromiseBroken: history.keep_promises,
    PromiseCancelled: history.keep_promises,
    PaymentPlanAgreed: history.keep_plans,
    PaymentPlanCompleted: history.keep_plans,
    PaymentPlanBroken: history.keep_plans,
    PaymentPlanCancelled: history.keep_plans,
    DisputeOpened: history.keep_disputes,
    DisputeResolved: history.keep_disputes,
}


async def review_due(context: JobContext, tenant_id: UUID) -> None:
    """Reviews a tenant's customers about whom something changed, whose day has come, or whose policy is newer.

    Many events about a customer within a second cost one review; a customer whom nothing concerns is not looked at.
    """
    while True:
        async with context.database.transaction(tenant_id) as conn:
            if await depth(conn, OUTBOX_MOST + 1) > OUTBOX_MOST:
                return
            policy = await policy_of(conn, tenant_id)
            customers = await claim(conn, tenant_id, business_day(context.now), policy.version, SLICE)
            if customers:
                await credit.review_customers(conn, tenant_id, customers, policy=policy, now=context.now)
        if len(customers) < SLICE:
            return


JOBS = (Job("review", 1.0, review_due, DUE),)
