"""The HTTP API of matching: bank accounts and files, payments, and what is owed."""

from matching.api import accounts, files, payments, reads

ROUTERS = (accounts.ROUTER, files.ROUTER, payments.ROUTER, reads.ROUTER)
