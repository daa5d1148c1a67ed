"""Scoring as a service: its roles."""

from shared.service import Service

from scoring.api import ROUTERS
from scoring.handlers.bureau import watch
from scoring.invariants import CHECKS
from scoring.settings import ScoringSettings
from scoring.tables import METADATA
from scoring.worker import JOBS, ROUTES

SERVICE = Service(
    name="scoring",
    settings=ScoringSettings,
    metadata=METADATA,
    routes=ROUTES,
    routers=ROUTERS,
    jobs=JOBS,
    checks=CHECKS,
    background=(watch,),
)
