"""The service as a process, on the real broker: events in, events out, SIGTERM, again."""

import asyncio
import os
import signal
import sys
from datetime import date

import httpx
from shared.db import Database
from shared.kafka import create_topics
from shared.outbox import Outgoing, publish
from shared.testing.databases import fresh_database
from shared.testing.tokens import public_key_file, token
from shared.testing.waiting import eventually


async def test_events_become_scores_and_holds(world, infrastructure, tmp_path, unused_tcp_port):
    prefix = f"scoring-{os.getpid()}-"
    await create_topics(infrastructure.bootstrap, prefix=prefix, replication=1)
    someone = world.id("flow")
    async with (
        fresh_database(infrastructure.admin_dsn, "scoring") as urls,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{unused_tcp_port}") as http,
    ):
        world.urls = urls
        database = Database(urls.app, application_name="test", pool_max=2)

        async def send(*events):  # through the service's own outbox and relay: they carry whatever is put in
            async with database.transaction(world.tenant) as conn:
                await publish(conn, [Outgoing(world.tenant, event) for event in events])

        environment = {
            **os.environ,
            **urls.environment(),
            "KAFKA_BOOTSTRAP_SERVERS": infrastructure.bootstrap,
            "ENCOURS_TOPIC_PREFIX": prefix,
            "ENCOURS_HTTP_PORT": str(unused_tcp_port),
            "ENCOURS_JWT_PUBLIC_KEY_FILE": str(public_key_file(tmp_path)),
            "ENCOURS_CURSOR_SECRET": "x" * 32,
        }
        bearer = {"Authorization": f"Bearer {token(world.tenant, 'credit:read')}"}
        await send(world.customer(someone), *(world.item(world.id("flow", n), someone, paid_on=date(2026, 5, 1)) for n in range(40)))

        async def credit():
            try:
                answer = await http.get(f"/v1/customers/{someone}/credit", headers=bearer)
            except httpx.TransportError:
                return {}
            return answer.json()

        for open_minor in (90_000_000, 0):  # a second process goes on where the first one stopped
            process = await asyncio.create_subprocess_exec(sys.executable, "-m", "scoring", "all", env=environment)
            try:
                await send(world.account(someone, 1 if open_minor else 2, open_minor=open_minor))

                async def settled(held=bool(open_minor)):
                    found = await credit()
                    return found.get("behaviour", {}).get("settled") == 40 and bool(found["hold"]) == held

                await eventually(settled, seconds=60, what="the hold")

                async def emptied():
                    return not await world.published()

                await eventually(emptied, what="the outbox is empty")
            finally:
                process.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(process.wait(), 30) == 0
        await world.invariants_hold()
        await database.close()
