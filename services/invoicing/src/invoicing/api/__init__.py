"""The HTTP API of invoicing: entities, customers, invoices, their documents and life cycle, imports."""

from shared.web.route import Router

from invoicing.api import customers, documents, entities, erasure, imports, invoices, mappings, merges, statuses

ROUTER = Router()
for _part in (entities, customers, merges, erasure, invoices, documents, statuses, mappings, imports):
    ROUTER.include_router(_part.ROUTER)
