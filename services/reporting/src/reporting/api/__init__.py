"""The reports' API: read only, scope `reports:read`."""

from reporting.api import customers, reports

ROUTERS = (reports.ROUTER, customers.ROUTER)
