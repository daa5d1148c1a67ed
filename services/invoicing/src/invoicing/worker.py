"""What invoicing listens to (event -> handler), and what it does by the clock."""

from functools import cache
from pathlib import Path
from uuid import UUID

from contracts.credit import CreditHoldPlaced, CreditHoldReleased, CreditTermsChanged
from contracts.dunning import DisputeOpened, DisputeResolved
from contracts.items import AccountBalanceChanged, InvoicePaid, InvoiceReopened, OpenItemChanged
from shared.batches import Routes
from shared.jobs import Job, JobContext
from shared.service import Runtime

from invoicing.drops import Drop, load, watch
from invoicing.handlers import imports, kept, statuses
from invoicing.settings import InvoicingSettings
from invoicing.sftp import fetch
from invoicing.storage.imports import DUE

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


async def _fetch_drops(context: JobContext, tenant_id: UUID) -> None:
    for drop in _drops():
        if drop.tenant_id == tenant_id and drop.sftp is not None:
            await fetch(drop, context.now)


@cache
def _drops() -> tuple[Drop, ...]:
    return load(InvoicingSettings().drops_file)


async def watch_drops(runtime: Runtime) -> None:
    """Watches the folders that the settings name, until the worker stops."""
    settings = InvoicingSettings()
    await watch(load(settings.drops_file), runtime.database, settings.documents_dir, runtime.clock, runtime.stopping)


JOBS: tuple[Job, ...] = (Job("imports", 0.2, _advance_imports, DUE), Job("fetch_drops", 30.0, _fetch_drops))
