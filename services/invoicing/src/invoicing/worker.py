"""What invoicing listens to: event -> handler."""

from contracts.credit import CreditHoldPlaced, CreditHoldReleased, CreditTermsChanged
from contracts.items import AccountBalanceChanged, InvoicePaid, InvoiceReopened, OpenItemChanged
from shared.consumer import Routes
from shared.jobs import Job

from invoicing.handlers import kept

ROUTES: Routes = {
    OpenItemChanged: kept.keep_balances,
    InvoicePaid: kept.keep_balances,
    InvoiceReopened: kept.keep_balances,
    AccountBalanceChanged: kept.keep_accounts,
    CreditHoldPlaced: kept.keep_holds,
    CreditHoldReleased: kept.keep_holds,
    CreditTermsChanged: kept.keep_terms,
}
JOBS: tuple[Job, ...] = ()
