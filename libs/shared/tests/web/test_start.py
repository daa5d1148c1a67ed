"""What no service starts with: routes and commands that are not safe."""

from datetime import date

import pytest
from fastapi import APIRouter
from shared.web.app import create_app
from shared.web.auth import requires
from shared.web.models import Command
from shared.web.route import Router


async def nothing() -> None: ...


def test_an_unsafe_route_stops_the_start(verifier, cursors):
    def start(router, **options):
        create_app(title="t", version="1", routers=[router], verifier=verifier, database=None, cursors=cursors, readiness={}, **options)

    lax = APIRouter()
    lax.add_api_route("/lax", nothing)
    with pytest.raises(ValueError, match="/lax: made by APIRouter"):
        start(lax)
    forgotten = Router(prefix="/v1")
    forgotten.add_api_route("/free", nothing)
    with pytest.raises(ValueError, match="/v1/free: requires no scope"):
        start(forgotten)
    start(forgotten, public=frozenset({"/v1/free"}))
    guarded = Router(dependencies=[requires("x")])
    guarded.add_api_route("/guarded", nothing)
    start(guarded)


def test_a_bare_type_that_no_json_fills_is_refused_at_definition():
    with pytest.raises(TypeError, match="due: use Date"):

        class Wrong(Command):
            due: date | None = None
