"""A bureau over HTTP, in the shape of Creditsafe Connect (OpenAPI 1.10): authenticate, search, report, notifications.

Invariants: numbers are read as text, never as floats; a token that has expired is replaced once per request; this module
never sleeps and never guesses: a bureau that is busy or down raises, and whoever called waits; of several companies
found none is chosen unless exactly one carries the number that was searched by.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

PAGE = 100
PAGES_MOST = 50
TIMEOUT = httpx.Timeout(10.0)


class BureauUnavailableError(Exception):
    """The bureau cannot be reached, fails, or says no to our credentials. `retry_after` in seconds where it said so."""

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome of a search: `found` with the bureau's id, `not_found`, or `ambiguous`."""

    status: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """Something changed about a company. The bureau may deliver it more than once."""

    id: str
    reference: str
    event_at: str


class Creditsafe:
    """One account at the bureau. Not to be shared between event loops."""

    def __init__(self, client: httpx.AsyncClient, *, username: str, password: str) -> None:
        self._client = client
        self._credentials = {"username": username, "password": password}
        self._token: str | None = None

    async def find(self, country: str, number: str, name: str | None) -> Found:
        """The company with a register number in a country; `name` decides where several carry the number.

        Raises BureauUnavailableError.
        """
        answer = await self._get("/companies", {"countries": country, "regNo": number, "pageSize": "20"})
        listed = [each for each in _list(answer.get("companies")) if isinstance(each.get("id"), str)]
        exact = [each for each in listed if _plain(each.get("regNo")) == _plain(number)]
        if len(exact) > 1 and name is not None:
            named = [each for each in exact if str(each.get("name")).casefold().strip() == name.casefold().strip()]
            exact = named or exact
        if len(exact) == 1:
            return Found("found", exact[0]["id"])
        return Found("ambiguous" if listed else "not_found")

    async def report(self, reference: str) -> dict[str, Any] | None:
        """A company's report; None where the bureau no longer knows the id. Raises BureauUnavailableError."""
        answer = await self._get(f"/companies/{reference}", {}, missing_is_none=True)
        report = answer.get("report")
        if answer and not isinstance(report, dict):
            raise BureauUnavailableError("the answer holds no report")
        return report

    async def notifications(self) -> list[Notification]:
        """The changes not yet marked as processed, repetitions included; PAGES_MOST pages at most, the rest next time.

        Raises BureauUnavailableError.
        """
        found: list[Notification] = []
        for page in range(PAGES_MOST):
            answer = await self._get("/monitoring/notificationEvents", {"page": str(page), "pageSize": str(PAGE)})
            events = _list(answer.get("data"))
            for event in events:
                company, number = event.get("company"), event.get("notificationEventId")
                reference = company.get("id") if isinstance(company, dict) else None
                if isinstance(reference, str) and number is not None and event.get("isProcessed") is not True:
                    found.append(Notification(str(number), reference, str(event.get("eventDate") or "")))
            if len(events) < PAGE:
                break
        return found

    async def processed(self, notification_id: str) -> None:
        """Marks a notification as processed. Raises BureauUnavailableError."""
        await self._request("PATCH", f"/monitoring/notificationEvents/{notification_id}", body={"isProcessed": True})

    async def _get(self, path: str, query: Mapping[str, str], *, missing_is_none: bool = False) -> dict[str, Any]:
        response = await self._request("GET", path, query=query, missing=missing_is_none)
        if response.status_code == httpx.codes.NOT_FOUND:
            return {}
        try:
            answer = json.loads(response.content, parse_float=str)
        except ValueError as error:
            raise BureauUnavailableError("the answer is no JSON") from error
        if not isinstance(answer, dict):
            raise BureauUnavailableError("the answer is no JSON object")
        return answer

    async def _request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: object = None, missing: bool = False
    ) -> httpx.Response:
        fresh = self._token is None
        for _ in range(2):
            token = self._token or await self._authenticate()
            response = await self._send(method, path, params=query, json=body, headers={"Authorization": f"Bearer {token}"})
            if response.status_code not in {401, 403}:
                break
            self._token = None  # expired in mid-run, or revoked
            if fresh:
                break
            fresh = True
        if response.status_code == httpx.codes.NOT_FOUND and missing:
            return response
        _refuse(response)
        return response

    async def _authenticate(self) -> str:
        response = await self._send("POST", "/authenticate", json=self._credentials)
        _refuse(response)
        try:
            token = response.json()["token"]
        except (ValueError, KeyError, TypeError) as error:
            raise BureauUnavailableError("authentication gave no token") from error
        self._token = str(token)
        return self._token

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return await self._client.request(method, path, timeout=TIMEOUT, **options)
        except httpx.HTTPError as error:
            raise BureauUnavailableError(type(error).__name__) from error


def _refuse(response: httpx.Response) -> None:
    if response.is_success:
        return
    after = response.headers.get("retry-after", "")
    raise BureauUnavailableError(f"status {response.status_code}", float(after) if after.isdecimal() else None)


def _list(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _plain(number: object) -> str:
    return "".join(char for char in str(number) if char.isalnum()).lstrip("0").casefold()
