"""What matching consumes, and what it does on its own."""

from functools import cache
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
from contracts.payments import PaymentReceived
from shared.batches import Routes
from shared.jobs import Job, JobContext

from matching.handlers.announcements import expire
from matching.handlers.customers import keep_customers, keep_erasures, keep_identities, keep_merges, move_merged
from matching.handlers.disputes import keep_disputes, meet_late
from matching.handlers.imputation import impute_waiting
from matching.handlers.ingest import withdraw
from matching.handlers.invoices import keep_invoices
from matching.handlers.late_money import allocate_late_money
from matching.handlers.matching import forget_clues, look_at_due, match_payments
from matching.handlers.plans import keep_plans
from matching.handlers.promises import keep_promises
from matching.handlers.pulls import pull
from matching.handlers.reconciliation import advance
from matching.handlers.slices import import_slices
from matching.pulling import Source, load
from matching.settings import MatchingSettings
from matching.storage import reconciliation
from matching.storage.books import LOOK_DUE
from matching.storage.expected import OVERDUE
from matching.storage.items import LATE_DUE
from matching.storage.parties import MERGED
from matching.storage.statements import IMPORT_DUE

ROUTES: Routes = {
    PaymentReceived: match_payments,  # but for those that are settled as they are booked (ADR 18)
    InvoiceIssued: keep_invoices,
    InvoiceChanged: keep_invoices,
    InvoiceCancelled: keep_invoices,
    CreditNoteIssued: keep_invoices,
    CustomerChanged: keep_customers,
    CustomerIdentityChanged: keep_identities,
    CustomerMerged: keep_merges,
    CustomerUnmerged: keep_merges,
    CustomerErased: keep_erasures,
    DisputeOpened: keep_disputes,
    DisputeResolved: keep_disputes,
    PromiseMade: keep_promises,
    PromiseKept: keep_promises,
    PromiseBroken: keep_promises,
    PromiseCancelled: keep_promises,
    PaymentPlanAgreed: keep_plans,
    PaymentPlanCompleted: keep_plans,
    PaymentPlanBroken: keep_plans,
    PaymentPlanCancelled: keep_plans,
}


@cache
def _sources() -> list[Source]:
    path = MatchingSettings().pull_sources_file
    return load(path) if path else []


async def _pull(context: JobContext, tenant_id: UUID) -> None:
    await pull(context, tenant_id, _sources())


JOBS: tuple[Job, ...] = (
    Job("pull_files", 30.0, _pull),
    Job("look_again", 0.5, look_at_due, LOOK_DUE),
    Job("move_merged", 1.0, move_merged, MERGED),
    Job("meet_late", 5.0, meet_late, LATE_DUE),
    Job("expire_announcements", 5.0, expire, OVERDUE),
    Job("import_statements", 0.5, import_slices, IMPORT_DUE, everywhere=True),
    Job("reconcile", 0.5, advance, reconciliation.DUE),
    Job("withdraw", 60.0, withdraw),
    Job("impute", 60.0, impute_waiting),
    Job("late_money", 60.0, allocate_late_money),
    Job("forget_clues", 60.0, forget_clues),
)
