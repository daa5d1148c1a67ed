"""Optimistic concurrency over HTTP (RFC 9110 section 13): the ETag of an aggregate is its version.

Who changes an aggregate names the version he has seen. `If-Match: *` is refused, since it names none; weak tags
never match (strong comparison).
"""

import re
from typing import Any

from starlette.requests import Request

from shared.web.problems import Problem

_TAGS = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e]*"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e]*"\s*)*')
_STRONG = re.compile(r'(?<!W/)"([\x21\x23-\x7e]*)"')


VERSIONED: dict[str, Any] = {
    "parameters": [{"name": "If-Match", "in": "header", "required": True, "schema": {"type": "string", "pattern": '^"[0-9]{1,19}"$'}}]
}
"""A route that calls `require_match` says so: `openapi_extra=VERSIONED`."""


def etag(version: int) -> str:
    """The value of the ETag header of an aggregate at `version`."""
    return f'"{version}"'


def require_match(request: Request, version: int) -> None:
    """Raises a Problem unless If-Match names `version`: 428 when it is missing or `*`, 400 malformed, 412 stale."""
    header = request.headers.get("if-match")
    if header is None or header.strip() == "*":
        raise Problem(428, "if-match-required", "If-Match must name the version that is to be changed")
    if not _TAGS.fullmatch(header):
        raise Problem(400, "if-match-malformed", "If-Match is not a list of entity tags")
    tags = re.sub(r'W/"[^"]*"', "", header)
    if str(version) not in _STRONG.findall(tags):
        raise Problem(412, "version-stale", "The resource has changed since that version", headers={"ETag": etag(version)})
