"""The HTTP API of invoicing: entities, customers, invoices."""

from shared.web.route import Router

from invoicing.api import customers, entities, invoices, merges

ROUTER = Router()
for _part in (entities.ROUTER, customers.ROUTER, merges.ROUTER, invoices.ROUTER):
    ROUTER.include_router(_part)
