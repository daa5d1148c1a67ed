"""The HTTP API of scoring."""

from scoring.api import credit, decisions, policy

ROUTERS = (credit.ROUTER, policy.ROUTER, decisions.ROUTER)
