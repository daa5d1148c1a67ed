"""The bureau over HTTP, in Creditsafe Connect's shape: a token that expires, 429 now and then, changes that are pulled.

Invariants: no answer without a valid token but the token's own; a change is listed until it is marked as processed, some
of them twice in one page, under the same notificationEventId. A header `Sandbox-Answer: 429` (or any 4xx, 5xx) forces that answer.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.requests import Request

from sandbox.bureau import Bureau, Subject

_TOKEN_MINUTES = 60
_THROTTLED_ONE_IN = 97
_REPEATED_ONE_IN = 5
_PAGE = 100


class Login(BaseModel):
    """What the token is asked for with; any password is good but `wrong`."""

    username: str
    password: str


class Course(BaseModel):
    """A scenario's wish: from this day on the company has this score."""

    since: date
    score: int


class Processed(BaseModel):
    """Marks a notification event."""

    isProcessed: bool  # noqa: N815 - the bureau's spelling


class Watched(BaseModel):
    """A company to be monitored, by its connect id."""

    id: str


@dataclass
class Desk:
    """What the bureau's interface remembers. `today` is the business day that scores are of, `now` the machine's clock for tokens."""

    bureau: Bureau
    today: Callable[[], date]
    now: Callable[[], datetime]
    tokens: dict[str, datetime] = field(default_factory=dict)
    watched: dict[str, date] = field(default_factory=dict)
    processed: set[int] = field(default_factory=set)
    requests: int = 0

    def login(self, login: Login) -> str:
        """A new token."""
        token = hashlib.sha256(f"{login.username} {self.bureau.seed} {self.now().isoformat()}".encode()).hexdigest()
        self.tokens[token] = self.now() + timedelta(minutes=_TOKEN_MINUTES)
        return token

    def admit(
        self, authorization: Annotated[str, Header()] = "", sandbox_answer: Annotated[int | None, Header(ge=400, le=599)] = None
    ) -> None:
        """Raises HTTPException: 401 without a valid token, 429 now and then, and what the caller asked for."""
        if sandbox_answer is not None:
            raise HTTPException(sandbox_answer, "as asked", headers={"Retry-After": "1"})
        expires = self.tokens.get(authorization.removeprefix("Bearer ").strip())
        if expires is None or expires <= self.now():
            raise HTTPException(401, "the token is missing, unknown or has expired")
        self.requests += 1
        if (self.requests + self.bureau.seed) % _THROTTLED_ONE_IN == 0:
            raise HTTPException(429, "too many requests", headers={"Retry-After": "1"})

    def pending(self) -> list[dict[str, object]]:
        """The changes not yet processed, oldest first; one in five comes twice."""
        new = [
            event
            for connect_id, since in self.watched.items()
            for event in self.bureau.changes(_subject(connect_id), since, self.today())
            if event["notificationEventId"] not in self.processed
        ]
        new.sort(key=lambda event: (str(event["eventDate"]), _event_id(event)))
        return [event for event in new for _ in range(2 if _event_id(event) % _REPEATED_ONE_IN == 0 else 1)]


def bureau_router(bureau: Bureau, *, today: Callable[[], date], now: Callable[[], datetime]) -> APIRouter:
    """The routes below /bureau/v1."""
    desk = Desk(bureau, today, now)
    router = APIRouter(prefix="/bureau/v1")
    router.include_router(_open_routes(desk))
    router.include_router(_companies(desk), dependencies=[Depends(desk.admit)])
    router.include_router(_monitoring(desk), dependencies=[Depends(desk.admit)])
    return router


def _open_routes(desk: Desk) -> APIRouter:
    router = APIRouter()

    @router.post("/authenticate")
    async def authenticate(login: Login) -> dict[str, str]:
        """A token for an hour; every password is good but `wrong`."""
        if login.password == "wrong":  # noqa: S105 - the one that stands for all wrong ones
            raise HTTPException(401, "wrong username or password")
        return {"token": desk.login(login)}

    @router.put("/simulation/{connect_id}")
    async def set_course(connect_id: str, course: Course) -> dict[str, object]:
        """Not the bureau's: a scenario sets what becomes of a company."""
        courses = desk.bureau.courses.setdefault(_subject(connect_id).connect_id, [])
        courses.append((course.since, course.score))
        return {"id": connect_id, "courses": len(courses)}

    @router.post("/simulation/expire-tokens")
    async def expire_tokens() -> dict[str, int]:
        """Not the bureau's: every token given so far has expired."""
        gone = len(desk.tokens)
        desk.tokens.clear()
        return {"expired": gone}

    return router


def _companies(desk: Desk) -> APIRouter:
    router = APIRouter()

    @router.get("/companies")
    async def companies(
        countries: str, reg_no: Annotated[str, Query(alias="regNo")] = "", vat_no: Annotated[str, Query(alias="vatNo")] = ""
    ) -> dict[str, object]:
        """The companies of a number in a country: one, or none."""
        number = "".join(char for char in reg_no or vat_no if char.isalnum()).upper()
        if len(countries) != 2 or not number:  # noqa: PLR2004 - ISO 3166 alpha-2
            raise HTTPException(400, "give one country in `countries` and `regNo` or `vatNo`")
        subject = Subject(countries.upper(), number)
        found = [_summary(desk.bureau, subject)] if desk.bureau.knows(subject) else []
        return {"correlationId": subject.connect_id, "totalSize": len(found), "companies": found}

    @router.get("/companies/{connect_id}")
    async def company(connect_id: str) -> dict[str, object]:
        """The report; asking for it starts the monitoring of the company."""
        subject = _subject(connect_id)
        if not desk.bureau.knows(subject):
            raise HTTPException(404, "no such company")
        today = desk.today()
        desk.watched.setdefault(connect_id, today)
        return {"companyId": connect_id, "dateOfOrder": f"{today}T00:00:00Z", "report": desk.bureau.report(subject, today)}

    return router


def _monitoring(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/monitoring")

    @router.post("/portfolios")
    async def portfolio() -> dict[str, object]:
        """The one portfolio there is."""
        return {"portfolioId": 1, "isDefault": True}

    @router.post("/portfolios/{portfolio_id}/companies")
    async def watch(portfolio_id: int, wanted: Watched) -> dict[str, object]:
        """Start the monitoring of a company."""
        desk.watched.setdefault(_subject(wanted.id).connect_id, desk.today())
        return {"portfolioId": portfolio_id, "id": wanted.id}

    @router.get("/notificationEvents")
    async def events(
        page: Annotated[int, Query(ge=0)] = 0, page_size: Annotated[int, Query(alias="pageSize", ge=1, le=1000)] = _PAGE
    ) -> dict[str, object]:
        """The changes not yet processed."""
        told = desk.pending()
        data = [event | {"isProcessed": False} for event in told[page * page_size : (page + 1) * page_size]]
        return {"totalCount": len(told), "data": data, "paging": {"page": page, "size": page_size}}

    @router.patch("/notificationEvents/{event_id}")
    async def mark(event_id: int, wish: Processed) -> dict[str, object]:
        """Mark a change as processed, or as not."""
        (desk.processed.add if wish.isProcessed else desk.processed.discard)(event_id)
        return {"notificationEventId": event_id, "isProcessed": wish.isProcessed}

    return router


def _subject(connect_id: str) -> Subject:
    try:
        return Subject.of(connect_id)
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


def _summary(bureau: Bureau, subject: Subject) -> dict[str, Any]:
    return {
        "id": subject.connect_id,
        "country": subject.country,
        "regNo": subject.number,
        "name": bureau.name(subject),
        "status": "Active",
        "type": "Ltd",
    }


def _event_id(event: dict[str, object]) -> int:
    found = event["notificationEventId"]
    if not isinstance(found, int):
        raise TypeError("a notification event id is an integer")
    return found


def refusal(_request: Request, error: Exception) -> JSONResponse:
    """The bureau's form of an error: a message and a correlation id."""
    if not isinstance(error, HTTPException):
        raise TypeError("only HTTP errors are answered here")
    body = {"error": str(error.detail), "message": str(error.detail)}
    return JSONResponse(body, error.status_code, headers=dict(error.headers or {}))
