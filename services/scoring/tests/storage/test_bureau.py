"""The adapter against a small bureau of Creditsafe Connect's shape, with that interface's known traps."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from hypothesis import given
from hypothesis import strategies as st
from scoring.creditsafe import BureauUnavailableError, Creditsafe
from scoring.domain.observation import from_creditsafe, search_key
from scoring.handlers.bureau import Breaker, BureauDesk

AT = datetime(2026, 6, 15, 9, 0, tzinfo=UTC)


def report(value="80", limit="15000", status="Active", **rating):
    return {
        "companyId": "FR-X-552100554",
        "companySummary": {"companyStatus": {"status": status}},
        "creditScore": {
            "currentCreditRating": {
                "commonValue": "A",
                "creditLimit": {"currency": "EUR", "value": limit},
                "providerValue": {"minValue": "0", "maxValue": "100", "value": value},
                **rating,
            },
            "latestRatingChangeDate": "2026-05-01T00:00:00Z",
        },
    }


class FakeBureau:
    """A third party: what it answers is set by the test."""

    def __init__(self):  # noqa: C901 - one route each
        self.reports = {"FR-X-552100554": report()}
        self.companies = [{"id": "FR-X-552100554", "regNo": "552 100 554", "name": "Martin SA"}]
        self.events, self.processed, self.logins, self.requests = [], [], 0, 0
        self.token, self.answers = "", []
        app = FastAPI()

        @app.post("/v1/authenticate")
        async def authenticate(request: Request):
            if (await request.json()) != {"username": "us", "password": "secret"}:
                return JSONResponse({}, 401)
            self.logins += 1
            self.token = f"token-{self.logins}"
            return {"token": self.token}

        @app.middleware("http")
        async def trouble(request: Request, go):
            if request.url.path != "/v1/authenticate":
                self.requests += 1
                if self.answers:
                    status, headers = self.answers.pop(0)
                    return JSONResponse({}, status, headers=headers)
                if request.headers.get("authorization") != f"Bearer {self.token}":
                    return JSONResponse({}, 401)
            return await go(request)

        @app.get("/v1/companies")
        async def companies(countries: str, regNo: str):  # noqa: N803 - the bureau's spelling
            return {"totalSize": len(self.companies), "companies": self.companies}

        @app.get("/v1/companies/{connect_id}")
        async def company(connect_id: str):
            found = self.reports.get(connect_id)
            return JSONResponse({"report": found}) if found else JSONResponse({}, 404)

        @app.get("/v1/monitoring/notificationEvents")
        async def events(page: int, pageSize: int):  # noqa: N803 - the bureau's spelling
            left = [event for event in self.events if event["notificationEventId"] not in self.processed]
            return {"totalCount": len(left), "data": left[page * pageSize : (page + 1) * pageSize]}

        @app.patch("/v1/monitoring/notificationEvents/{number}")
        async def mark(number: int):
            self.processed.append(number)
            return {}

        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bureau/v1")
        self.adapter = Creditsafe(self.http, username="us", password="secret")


@pytest.fixture
async def bureau():
    fake = FakeBureau()
    async with fake.http:
        yield fake


def desk(world, bureau, **options):
    async def no_wait(_):
        return

    return BureauDesk(world.database, bureau.adapter, refresh=timedelta(days=30), spacing=0, sleep=no_wait, **options)


async def test_a_new_customer_is_found_observed_and_scored_with_it(world, bureau):
    someone = world.id("new")
    await world.feed(world.customer(someone))
    assert await desk(world, bureau).pull(world.tenant, AT) == 1
    await world.review()
    (score,) = await world.published("ScoreChanged")
    assert (score.score, score.bureau.band, score.bureau.advised_limit_minor) == (70, "A", 1_500_000)
    (terms,) = await world.published("CreditTermsChanged")
    assert (terms.limit_minor, terms.reason) == (1_500_000, "bureau")
    assert await desk(world, bureau).pull(world.tenant, AT + timedelta(days=29)) == 0
    assert await desk(world, bureau).pull(world.tenant, AT + timedelta(days=30)) == 1


async def test_an_expired_token_is_replaced_and_a_short_429_waited_for(world, bureau):
    await world.feed(world.customer(world.id("patient")))
    await bureau.adapter.find("FR", "552100554", None)
    bureau.token = "another"
    bureau.answers = [(429, {"Retry-After": "1"}), (429, {"Retry-After": "1"})]
    assert await desk(world, bureau).pull(world.tenant, AT) == 1
    assert bureau.logins == 2


async def test_wrong_credentials_are_told_and_not_hammered(bureau):
    wrong = Creditsafe(bureau.http, username="us", password="wrong")
    with pytest.raises(BureauUnavailableError, match="401"):
        await wrong.find("FR", "1", None)
    assert bureau.requests == 0


async def test_a_bureau_that_is_down_opens_the_breaker_and_what_is_known_grows_stale(world, bureau):
    known = world.id("known")
    await world.feed(world.customer(known))
    await desk(world, bureau).pull(world.tenant, AT)
    await world.review()
    await world.feed(*(world.customer(world.id("later", n)) for n in range(9)))
    seconds = [0.0]
    breaker = Breaker(lambda: seconds[0])
    broken = desk(world, bureau, breaker=breaker)
    bureau.answers, before = [(503, {})] * 50, bureau.requests
    assert await broken.pull(world.tenant, AT) == 0
    assert (breaker.open, bureau.requests - before) == (True, 3)
    assert await broken.pull(world.tenant, AT) == 0
    assert bureau.requests - before == 3
    seconds[0], bureau.answers = 61.0, []
    assert await broken.pull(world.tenant, AT + timedelta(minutes=30)) == 9
    world.now += timedelta(days=91)
    await world.review()
    last = [score for score in await world.published("ScoreChanged") if score.customer_id == known][-1]
    assert (last.score, last.factors[-1].value) == (55, "creditsafe: too old to count")


async def test_several_companies_are_never_guessed_between(world, bureau):
    bureau.companies = [{"id": f"FR-X-{n}", "regNo": "552100554", "name": f"Martin {n}"} for n in range(2)]
    assert (await bureau.adapter.find("FR", "552100554", None)).status == "ambiguous"
    assert (await bureau.adapter.find("FR", "552100554", "MARTIN 1 ")).reference == "FR-X-1"
    assert (await bureau.adapter.find("FR", "999", None)).status == "ambiguous"
    bureau.companies = []
    await world.feed(world.customer(world.id("unknown there")))
    assert await desk(world, bureau).pull(world.tenant, AT) == 1
    assert (await world.rows("SELECT status FROM bureau_subject"))[0].status == "not_found"


async def test_notifications_are_paged_deduplicated_and_bring_the_refresh_forward(world, bureau):
    other = world.id("another tenant")
    for tenant in (world.tenant, other):
        await world.feed(world.customer(world.id("watched")), tenant=tenant)
        await desk(world, bureau).pull(tenant, AT)
    event = {"eventDate": "2026-06-15T00:00:00Z", "newValue": "Not rated", "company": {"id": "FR-X-552100554"}}
    bureau.events = [event | {"notificationEventId": n // 2} for n in range(300)]
    watcher = desk(world, bureau)
    assert await watcher.poll([world.tenant, other], AT) == 300
    assert sorted(bureau.processed) == list(range(150))
    assert await watcher.poll([world.tenant, other], AT) == 0
    bureau.reports["FR-X-552100554"] = report("10")
    for tenant in (world.tenant, other):
        assert await watcher.pull(tenant, AT) == 1
        rows = await world.rows("SELECT band FROM bureau_observation ORDER BY band", tenant=tenant)
        assert {row.band for row in rows} == {"A", "E"}


async def test_another_company_id_is_searched_anew(world, bureau):
    someone = world.id("moved")
    await world.feed(world.customer(someone))
    await desk(world, bureau).pull(world.tenant, AT)
    changed = world.customer(someone, 2)
    changed.company_ids[0] = type(changed.company_ids[0])(scheme="0002", value="123456782")
    await world.feed(changed)
    bureau.companies = [{"id": "FR-X-1", "regNo": "123456782", "name": "B"}]
    bureau.reports["FR-X-1"] = report("55")
    assert await desk(world, bureau).pull(world.tenant, AT + timedelta(hours=1)) == 1
    assert (await world.rows("SELECT reference FROM bureau_subject"))[0].reference == "FR-X-1"


@pytest.mark.parametrize(
    ("value", "common", "band"),
    [
        ("71", None, "A"), ("70.5", "A", "B"), (51, None, "B"), ("30", None, "C"), ("21", None, "D"), ("1", None, "E"),
        ("0", "E", None), ("Not rated - insufficient information to rate", "E", None), (None, "E", None), (None, "B", "B"),
        ("NaN", "A", None), ("101", "A", None), (True, None, None),
    ],
)  # fmt: skip
def test_scores_as_bureaus_write_them(value, common, band):
    seen = from_creditsafe(report(value, commonValue=common), reference="x", fetched_at=AT)
    assert seen.band == band


def test_a_company_that_ended_is_e_whatever_its_score():
    assert from_creditsafe(report("99", status="NonActive"), reference="x", fetched_at=AT).band == "E"


@pytest.mark.parametrize(
    ("limit", "minor"), [("15000", 1_500_000), (0, 0), (None, None), ("unlimited", None), ("1,000", None), ("-5", None), ("99.50", 9_950)]
)
def test_limits_as_bureaus_write_them(limit, minor):
    assert from_creditsafe(report(limit=limit), reference="x", fetched_at=AT).advised_limit_minor == minor


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "creditScore",
                        "currentCreditRating",
                        "creditLimit",
                        "value",
                        "currency",
                        "providerValue",
                        "companySummary",
                        "companyStatus",
                        "status",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_no_report_however_odd_breaks_the_reading(found):
    seen = from_creditsafe({"creditScore": found, "companySummary": found}, reference="x", fetched_at=AT)
    assert seen.band in {None, "A", "B", "C", "D", "E"}


def test_what_a_company_is_searched_by():
    assert search_key("FR", [("vat", "FR40303265045"), ("0009", "552 100 554 00013")]) == "FR:552100554"
    assert search_key("DE", [("hrb", "HRB 1234")]) == "DE:HRB1234"
    assert search_key("FR", [("vat", "FR40303265045")]) is None
    assert search_key(None, [("0002", "552100554")]) is None
