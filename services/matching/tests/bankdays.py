"""A bank for tests: statements of one account, a day each, and what the jobs make of them. Amounts are minor units."""

from datetime import date, timedelta

from matching.handlers import ingest
from shared.clock import machine_now
from shared.days import business_day
from shared.db import run
from shared.jobs import JobContext
from shared.kafka import Offsets
from shared.testing.waiting import eventually

FIRST = date(2026, 3, 1)


def job(world) -> JobContext:
    return JobContext(world.database, machine_now(), Offsets("127.0.0.1:1"), "", "test")


def ahead(days: int) -> str:
    """The business day so many days from today, as a body says it."""
    return (business_day(machine_now()) + timedelta(days=days)).isoformat()


def money(minor: int) -> str:
    return f"{'-' if minor < 0 else ''}{abs(minor) // 100}.{abs(minor) % 100:02}"


async def waiting_for_a_lock(world, tenant, count):
    """So many sessions of this database: other tests have others."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() HAVING count(*) >= :count"
    await eventually(lambda: world.rows(tenant, waiting, count=count), what="waiting")


class Bank:
    """The account's balance and day, and every file that was sent: `files` may come again at any time."""

    def __init__(self, world, client, held, camtfile):
        self.world, self.client, self.held, self.camtfile = world, client, held, camtfile
        self.balance, self.day, self.files = 0, FIRST, []

    def entry(self, amount: int, **more) -> str:
        """A line, below zero for what goes out. Money that came in is dated as it was notified, else it is of the day."""
        day = date(2026, 3, 2) if amount > 0 else self.day
        return self.camtfile.entry(money(abs(amount)), credit=amount > 0, **{"day": day.isoformat(), **more})

    async def books(self, *lines: tuple[int, dict]) -> list[dict]:
        """The next day's statement; returns what became of it."""
        self.day += timedelta(days=1)
        before, self.balance = self.balance, self.balance + sum(amount for amount, more in lines if more.get("status") != "PDNG")
        return await self.brings("053", money(before), money(self.balance), *(self.entry(amount, **more) for amount, more in lines))

    async def tells(self, *entries: str) -> list[dict]:
        """An advice (camt.054)."""
        return await self.brings("054", "", "", *entries)

    async def brings(self, kind: str, opening: str, closing: str, *entries: str) -> list[dict]:
        data = self.camtfile.statement(
            self.held.iban, opening, closing, *entries, kind=kind, day=self.day.isoformat(), number=len(self.files) + 1
        )
        self.files.append(data.replace(b"EUR", self.held.currency.encode()))
        return await self.again(self.files[-1:])

    async def again(self, files: list[bytes] | None = None) -> list[dict]:
        """Every file once more, or those given."""
        found = []
        for data in self.files if files is None else files:
            answer = await self.client.post("/v1/bank-files", content=data, headers={"content-type": "application/xml"})
            assert answer.status_code == 201, answer.text
            found += answer.json()["statements"]
        assert {one["verdict"] for one in found} <= {"booked", "duplicate"}, found
        return found

    async def goes_on(self) -> None:
        """Statements that have nothing more, until what they should have had is withdrawn."""
        self.day += timedelta(days=7)
        await self.books()
        async with self.world.database.transaction(self.held.tenant_id) as conn:  # as if nothing else of the account waited
            await run(
                conn,
                "INSERT INTO reconciliation (tenant_id, bank_account_id, version, booked_through) VALUES (:tenant, :account, 1, :day) "
                "ON CONFLICT (tenant_id, bank_account_id) DO UPDATE SET booked_through = EXCLUDED.booked_through",
                tenant=self.held.tenant_id,
                account=self.held.bank_account_id,
                day=self.day,
            )
        await ingest.withdraw(job(self.world), self.held.tenant_id)


async def post_file(client, data, media="text/plain"):
    data = data.encode() if isinstance(data, str) else data
    return await client.post("/v1/bank-files", content=data, headers={"content-type": media})


async def book(client, data):
    answer = await post_file(client, data)
    assert answer.status_code == 201, answer.text
    return answer.json()["statements"]
