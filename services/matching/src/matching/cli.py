"""The service as a value, and its tools for the command line."""

from functools import partial

from shared.service import Service

from matching.api import ROUTERS
from matching.evaluate_tool import evaluate_tool, fit_tool
from matching.invariants import CHECKS
from matching.learn_tool import learn_tool
from matching.parse_tool import parse_tool
from matching.settings import MatchingSettings
from matching.tables import METADATA
from matching.worker import JOBS, ROUTES

SERVICE = Service(name="matching", settings=MatchingSettings, metadata=METADATA, routes=ROUTES, routers=ROUTERS, jobs=JOBS, checks=CHECKS)


TOOLS = (parse_tool, evaluate_tool, fit_tool, partial(learn_tool, service=SERVICE))
