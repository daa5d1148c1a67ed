"""The HTTP API of matching: bank accounts and files, payments, and what is owed."""

from matching.api import (
    accounts,
    expected,
    files,
    handwork,
    imputation,
    ledger,
    movements,
    notifications,
    payments,
    policy,
    pulls,
    reads,
    refunds,
    review,
    settlements,
    totals,
)

ROUTERS = (
    accounts.ROUTER,
    files.ROUTER,
    totals.ROUTER,
    movements.ROUTER,
    pulls.ROUTER,
    notifications.ROUTER,
    payments.ROUTER,
    handwork.ROUTER,
    imputation.ROUTER,
    review.ROUTER,
    policy.ROUTER,
    refunds.ROUTER,
    expected.ROUTER,
    settlements.ROUTER,
    ledger.ROUTER,
    reads.ROUTER,
)
