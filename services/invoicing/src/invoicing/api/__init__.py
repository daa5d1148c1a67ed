"""The HTTP API of invoicing: entities, customers, invoices, their life cycle, imports."""

from shared.web.route import Router

from invoicing.api import customers, entities, imports, invoices, mappings, merges, statuses

ROUTER = Router()
for _part in (entities.ROUTER, customers.ROUTER, merges.ROUTER, invoices.ROUTER, statuses.ROUTER, mappings.ROUTER, imports.ROUTER):
    ROUTER.include_router(_part)
