"""A thin client of Encours' public APIs, as a bank's or an ERP's integrator would write it.

Invariants: only a lost connection and 503 (nothing was done) are tried again, with the same Idempotency-Key, so that nothing
has its effect twice; any other answer than success raises with the problem's own text.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_RETRY_SECONDS = 60.0
_PAGE = 200
_MOST_ERRORS = 5

Json = dict[str, Any]


class ApiError(Exception):
    """A refusal: `status`, the problem's `code`, and as text what was asked and what the problem says."""

    def __init__(self, request: str, status: int, problem: Mapping[str, Any]) -> None:
        places = [f"{error.get('pointer')}: {error.get('detail')}" for error in problem.get("errors", [])[:_MOST_ERRORS]]
        text = "; ".join(filter(None, [problem.get("detail") or problem.get("title") or "no problem document", *places]))
        super().__init__(f"{request}: {status} {problem.get('code', '')}: {text}")
        self.status = status
        self.code = str(problem.get("code", ""))


class UnavailableError(Exception):
    """The service could not be reached or answered 503: nothing was done."""


class Client:
    """One service's API. Use it as an async context manager."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=_TIMEOUT, transport=transport, trust_env=False)
        self._retry_seconds = retry_seconds

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def get(self, path: str, **query: object) -> Json:
        """GET; query values that are None are left out. Raises ApiError, UnavailableError."""
        parameters = {name: str(value) for name, value in query.items() if value is not None}
        return _json(await self.request("GET", path, params=parameters))

    async def put(self, path: str, body: object) -> Json:
        """PUT a JSON body. Raises ApiError, UnavailableError."""
        return _json(await self.request("PUT", path, json=body))

    async def post(self, path: str, body: object, *, key: str | None = None) -> Json:
        """POST a JSON body; without `key` the Idempotency-Key is the hash of path and body. Raises ApiError, UnavailableError."""
        return _json(await self.request("POST", path, json=body, key=key))

    async def send(self, path: str, content: bytes, headers: Mapping[str, str], *, key: str | None = None) -> Json:
        """POST bytes with their own headers, such as a signed notification or a file. Raises ApiError, UnavailableError."""
        return _json(await self.request("POST", path, content=content, headers=headers, key=key))

    async def text(self, path: str) -> str:
        """GET something that is not JSON. Raises ApiError, UnavailableError."""
        return (await self.request("GET", path)).text

    async def pages(self, path: str, **query: object) -> AsyncIterator[Json]:
        """Every item of a list, page after page."""
        cursor: str | None = None
        while True:
            page = await self.get(path, limit=_PAGE, cursor=cursor, **query)
            for item in page["items"]:
                yield item
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    async def request(
        self, method: str, path: str, *, key: str | None = None, headers: Mapping[str, str] | None = None, **parts: Any
    ) -> httpx.Response:
        """One request with its retries. Raises ApiError for a refusal, UnavailableError when it stays unavailable."""
        request = self._http.build_request(method, path, headers=headers, **parts)
        if method == "POST":
            body = request.content
            request.headers["idempotency-key"] = key or hashlib.sha256(f"{path}\n".encode() + body).hexdigest()
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(UnavailableError),
            wait=wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.1),
            stop=stop_after_delay(self._retry_seconds),
            reraise=True,
        )
        return await retrying(self._once, request)

    async def _once(self, request: httpx.Request) -> httpx.Response:
        what = f"{request.method} {request.url.copy_with(query=None)}"
        try:
            response = await self._http.send(request)
        except httpx.TransportError as error:
            raise UnavailableError(f"{what}: {type(error).__name__}: {error}") from error
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise UnavailableError(f"{what}: 503 {response.text[:300]}")
        if not response.is_success:
            raise ApiError(what, response.status_code, _problem(response))
        return response


def _json(response: httpx.Response) -> Json:
    found = response.json() if response.content else {}
    return found if isinstance(found, dict) else {"items": found}


def _problem(response: httpx.Response) -> Mapping[str, Any]:
    try:
        found = response.json()
    except ValueError:
        return {"title": response.text[:300]}
    return found if isinstance(found, dict) else {"title": response.text[:300]}
