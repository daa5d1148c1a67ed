"""The sandbox as one HTTP application beside a mail sink: bureau, the bank's pool of virtual IBANs, webhook receiver, mails.

Plain HTTP on the loopback address and no tokens but the bureau's: it stands for the outside world on one machine and
belongs on no other.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from shared.clock import BusinessClock, machine_now

from sandbox import mail
from sandbox.bureau import Bureau
from sandbox.bureau_api import bureau_router, refusal
from sandbox.chance import chance
from sandbox.downloads import downloads_router
from sandbox.identifiers import virtual_iban
from sandbox.receiver import receiver_router

_BRANCHES = 100_000


class SandboxSettings(BaseSettings):
    """From the environment, prefix ENCOURS_."""

    model_config = SettingsConfigDict(env_prefix="ENCOURS_", extra="ignore", frozen=True)

    sandbox_port: Annotated[int, Field(ge=0, le=65535)] = 8090
    smtp_port: Annotated[int, Field(ge=0, le=65535)] = 8025
    sandbox_seed: int = 1
    clock_file: Path | None = None


def pool_branch(seed: int) -> int:
    """The bank's branch whose account numbers the virtual IBANs of this seed have."""
    return chance("branch", seed).randrange(_BRANCHES)


def create_app(settings: SandboxSettings) -> FastAPI:
    """The application; the mail sink runs as long as it does."""
    clock, mails = BusinessClock(settings.clock_file), mail.Mails()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        sink = await mail.listen(mails, host="127.0.0.1", port=settings.smtp_port)
        try:
            yield
        finally:
            sink.close()
            await sink.wait_closed()

    app = FastAPI(title="Sandbox", lifespan=lifespan, redoc_url=None)
    app.state.mails = mails
    app.add_exception_handler(HTTPException, refusal)
    app.include_router(bureau_router(Bureau(settings.sandbox_seed), today=lambda: clock.now().date(), now=machine_now))
    app.include_router(receiver_router())
    app.include_router(downloads_router())
    app.include_router(mail.mail_router(mails))

    @app.get("/health")
    @app.get("/ready")
    async def health() -> dict[str, str]:
        """The process lives."""
        return {"status": "alive"}

    @app.get("/bank/virtual-ibans")
    async def virtual_ibans(
        count: Annotated[int, Query(ge=1, le=10_000)] = 100,
        country: Annotated[str, Query(pattern="^(FR|DE)$")] = "FR",
        start: Annotated[int, Query(ge=0, le=90_000_000)] = 0,
        seed: int | None = None,
    ) -> dict[str, object]:
        """The bank's pool: `count` virtual IBANs from `start` on, the same ones for every call."""
        branch = pool_branch(settings.sandbox_seed if seed is None else seed)
        return {"ibans": [virtual_iban(country, branch, start + index) for index in range(count)]}

    return app
