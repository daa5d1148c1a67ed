"""What invoicing listens to (event -> handler), and what it does by the clock."""

from functools import cache
from pathlib import Path
from uuid import UUID

from contracts.credit import CreditHoldPlaced, CreditHoldReleased, CreditTermsChanged
from contracts.dunning import DisputeOpened, DisputeResolved
from contracts.items import AccountBalanceChanged, InvoicePaid, InvoiceReopened, OpenItemChanged
from shared.consumer import Routes
from shared.jobs import Job, JobContext

from invoicing.handlers import imports, kept, statuses
from invoicing.settings import InvoicingSettings

ROUTES: Routes = {
    OpenItemChanged: kept.keep_balances,
    InvoicePaid: statuses.note_collected,
    InvoiceReopened: statuses.note_collected,
    AccountBalanceChanged: kept.keep_accounts,
    DisputeOpened: statuses.note_disputes,
    DisputeResolved: statuses.note_disputes,
    CreditHoldPlaced: kept.keep_holds,
    CreditHoldReleased: kept.keep_holds,
    CreditTermsChanged: kept.keep_terms,
}


@cache
def _documents() -> Path:
    return InvoicingSettings().documents_dir


async def _advance_imports(context: JobContext, tenant_id: UUID) -> None:
    await imports.advance(context, tenant_id, _documents())


JOBS: tuple[Job, ...] = (Job("imports", 0.2, _advance_imports),)
