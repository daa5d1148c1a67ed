"""Sends what is planned in a process of its own, to be killed at ENCOURS_FAILPOINT: URL TENANT SMTP_URL NOW."""

import asyncio
import sys
from datetime import datetime
from uuid import UUID

from dunning.handlers.dispatches import send_planned
from dunning.smtp import Smtp
from shared.db import Database
from shared.jobs import JobContext


async def main(url: str, tenant: str, smtp: str, now: str) -> None:
    context = JobContext(Database(url, application_name="test"), datetime.fromisoformat(now), None, "", "dunning")  # type: ignore[arg-type]
    await send_planned(context, UUID(tenant), Smtp(smtp))


asyncio.run(main(*sys.argv[1:]))
