"""The HTTP API of matching: bank accounts and files, payments, and what is owed."""

from matching.api import accounts, files, handwork, payments, reads, refunds

ROUTERS = (accounts.ROUTER, files.ROUTER, payments.ROUTER, handwork.ROUTER, refunds.ROUTER, reads.ROUTER)
