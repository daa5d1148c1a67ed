"""What dunning listens to, and what it does by the clock."""

from functools import cache
from pathlib import Path
from uuid import UUID

from contracts.accounts import BankReconciliationAdvanced, CollectionAccountChanged, VirtualIbanAssigned, VirtualIbanReleased
from contracts.credit import CreditHoldPlaced, CreditHoldReleased, CreditTermsChanged, ScoreChanged
from contracts.customers import CustomerChanged, CustomerErased, CustomerIdentityChanged, CustomerMerged, CustomerUnmerged
from contracts.invoices import CreditNoteIssued, InvoiceCancelled, InvoiceChanged, InvoiceIssued, InvoiceStatusChanged
from contracts.items import AccountBalanceChanged, OpenItemChanged
from contracts.payments import (
    PaymentAnnouncementChanged,
    PaymentMatched,
    PaymentRefunded,
    PaymentReturned,
    PaymentUnapplied,
    PaymentUnmatched,
    StatementRejected,
)
from shared.batches import Routes
from shared.jobs import Job, JobContext

from dunning.handlers import customers, dispatches, gate, plans, promises, reminders, replicas, statuses
from dunning.settings import Settings
from dunning.smtp import Smtp
from dunning.storage import dispatches as dispatch_storage
from dunning.storage import gate as gates
from dunning.storage import plans as plan_storage
from dunning.storage import promises as promise_storage
from dunning.storage import reminders as reminder_storage
from dunning.storage import statuses as status_storage

ROUTES: Routes = {
    CustomerChanged: replicas.keep_customers,
    CustomerIdentityChanged: replicas.keep_identities,
    CustomerMerged: customers.keep_merges,
    CustomerUnmerged: customers.keep_merges,
    CustomerErased: customers.keep_erasures,
    InvoiceIssued: replicas.keep_invoices,
    InvoiceChanged: replicas.keep_invoices,
    InvoiceCancelled: replicas.keep_invoices,
    CreditNoteIssued: replicas.keep_invoices,
    InvoiceStatusChanged: statuses.keep_statuses,
    OpenItemChanged: replicas.keep_items,
    AccountBalanceChanged: replicas.keep_balances,
    PaymentMatched: replicas.keep_payments,
    PaymentUnapplied: replicas.keep_payments,
    PaymentUnmatched: replicas.keep_payments,
    PaymentReturned: replicas.keep_payments,
    PaymentRefunded: replicas.keep_payments,
    PaymentAnnouncementChanged: replicas.keep_announcements,
    CollectionAccountChanged: replicas.keep_bank_accounts,
    VirtualIbanAssigned: replicas.keep_virtual_ibans,
    VirtualIbanReleased: replicas.keep_virtual_ibans,
    ScoreChanged: replicas.keep_scores,
    CreditTermsChanged: replicas.keep_terms,
    CreditHoldPlaced: replicas.keep_holds,
    CreditHoldReleased: replicas.keep_holds,
    StatementRejected: replicas.keep_rejections,
    BankReconciliationAdvanced: gate.keep_reconciliations,
}


@cache
def _mail_server() -> Smtp:
    return Smtp(Settings().smtp_url.get_secret_value())


@cache
def _documents() -> Path:
    return Settings().documents_dir


async def _send_planned(context: JobContext, tenant_id: UUID) -> None:
    await dispatches.send_planned(context, tenant_id, _mail_server(), _documents())


JOBS = (
    Job("open_gates", 0.5, gate.open_gates, gates.DUE),
    Job("run_day", 0.5, reminders.run_day, reminder_storage.DUE),
    Job("send_planned", 0.25, _send_planned, dispatch_storage.DUE),
    Job("judge_promises", 1.0, promises.judge_promises, promise_storage.DUE),
    Job("judge_plans", 1.0, plans.judge_plans, plan_storage.DUE),
    Job("settle_statuses", 1.0, statuses.settle_waiting, status_storage.DUE),
)
