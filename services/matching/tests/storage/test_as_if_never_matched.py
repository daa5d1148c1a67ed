"""What is owed after money came and went is what is owed where it never came, whatever was written off before and billed meanwhile."""

from datetime import UTC, date, datetime

from bankdays import Bank
from camtfile import camt056
from handwork import limit, post
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from shared.ids import new_id

CLOCK = datetime(2026, 3, 2, 9, tzinfo=UTC)
SOME = st.integers(1, 12).map(lambda parts: parts * 100)
BILLED = st.one_of(
    st.tuples(st.just("credit"), SOME),
    st.tuples(st.just("bill"), SOME),
    st.tuples(st.just("cancel"), st.just(0)),
)
BEFORE = st.one_of(st.tuples(st.just("write_off"), SOME), st.tuples(st.just("credit"), SOME), st.tuples(st.just("take_back"), SOME))


class Case:
    """One tenant's F-1 of 10.00 and what becomes of it."""

    def __init__(self, world, make, client, bank, tenant):
        self.world, self.make, self.client, self.bank, self.tenant, self.version, self.credits = world, make, client, bank, tenant, 1, 0

    async def does(self, name, amount):
        item = self.make.invoice_id(self.tenant, "F-1")
        if name == "credit":
            self.credits += 1
            await self.world.feed(
                self.make.invoice(self.tenant, f"A-{self.credits}", amount, cls=self.make.Credit, credited_invoice_id=item)
            )
        elif name in {"bill", "cancel"}:
            self.version += 1
            cls = self.make.Changed if name == "bill" else self.make.Cancelled
            await self.world.feed(self.make.invoice(self.tenant, "F-1", amount, cls=cls, version=self.version))
        elif name == "write_off":
            body = {"item_id": str(item), "reason": "goodwill", "amount_minor": amount}
            assert (await post(self.client, "/v1/write-offs", body)).status_code in {201, 409}
        else:
            for one in (await self.client.get("/v1/write-offs")).json()["items"][:1]:
                body = {"reason": "mistake", "amount_minor": amount}
                assert (await post(self.client, f"/v1/write-offs/{one['write_off_id']}/reverse", body)).status_code in {200, 409}

    async def pays(self, amount):
        """Money comes for it: of what is owed and what was given up, as far as there is so much."""
        row = await self.world.one(self.tenant, "SELECT open_minor + written_off_minor FROM open_item WHERE invoice_number = 'F-1'")
        payment = await self.world.pay(self.bank.held, amount, end_to_end_id="E1", remittance=["MERCI"], number=1)
        await self.world.match(self.tenant)
        if amount := min(amount, row[0]):
            line = {"item_id": str(self.make.invoice_id(self.tenant, "F-1")), "amount_minor": amount}
            answer = await post(self.client, f"/v1/payments/{payment}/allocations", {"lines": [line]})
            assert answer.status_code == 200, answer.text
        return payment

    async def goes_back(self, how, payment, amount):
        if how == "returned":
            await self.bank.books((amount, {"ref": "B1", "e2e": "E1"}), (-amount, {"ref": "R1", "e2e": "E1", "reason": "AC04"}))
        elif how == "recalled":
            body = camt056("E1", f"{amount // 100}.{amount % 100:02}")
            assert (await self.client.post("/v1/recalls", content=body, headers={"content-type": "application/xml"})).status_code == 201
        elif how == "withdrawn":
            await self.bank.goes_on()
        else:
            assert (await post(self.client, f"/v1/payments/{payment}/unmatch", {"reason": "wrong"})).status_code in {200, 404}

    async def owed(self):
        rows = await self.world.rows(
            self.tenant,
            "SELECT kind, sum(open_minor), sum(cash_minor), sum(credit_minor), sum(written_off_minor) FROM open_item GROUP BY 1 ORDER BY 1",
        )
        given_up = await self.world.rows(
            self.tenant, "SELECT status, amount_minor, reversed_minor FROM write_off ORDER BY requested_at, write_off_id"
        )
        return [tuple(row) for row in rows], [tuple(row) for row in given_up]


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.explain})
@given(
    before=st.lists(BEFORE, max_size=3),
    amount=SOME,
    meanwhile=st.lists(BILLED, max_size=3),
    how=st.sampled_from(["returned", "recalled", "withdrawn", "unmatched"]),
)
async def test_money_that_came_and_went_leaves_what_is_owed_as_if_it_had_never_come(
    world, make, camtfile, client_of, before, amount, meanwhile, how
):
    found = []
    for comes in (True, False):
        tenant = new_id()
        client = await client_of(tenant, scopes=("bank:write", "bank:read", "payments:write", "payments:read"))
        await limit(client, tenant, make, 100_000)
        bank = Bank(world, client, await world.account(tenant), camtfile)
        await world.feed(make.invoice(tenant, "F-1", 1_000, due=date(2026, 3, 6)))
        case = Case(world, make, client, bank, tenant)
        for step in before:
            await case.does(*step)
        payment = await case.pays(amount) if comes else None
        for step in meanwhile:
            await case.does(*step)
        if comes:
            await case.goes_back(how, payment, amount)
        found.append(await case.owed())
    assert found[0] == found[1], (before, amount, meanwhile, how)
    await world.holds()
