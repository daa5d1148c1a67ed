"""The service as a value."""

from shared.service import Service

from partners.api import ROUTER
from partners.invariants import CHECKS
from partners.settings import Settings
from partners.tables import METADATA
from partners.webhooks import send_until_stopped
from partners.worker import JOBS, ROUTES

SERVICE = Service(
    name="partners",
    settings=Settings,
    metadata=METADATA,
    routes=ROUTES,
    routers=(ROUTER,),
    jobs=JOBS,
    checks=CHECKS,
    background=(send_until_stopped,),
)
