"""The simulated bank's counter for files: an EBICS-like download over HTTP.

As with EBICS: a client asks for an order type (C53 end-of-day statements, C52 reports, C54 notifications), fetches each file, and
acknowledges it (the transfer receipt); what is acknowledged is not offered again, what is not is. Files are put on the
counter by whoever plays the bank.
"""

from dataclasses import dataclass
from typing import Annotated
from uuid import uuid5

from contracts.envelope import NAMESPACE
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

_ORDER = "^[A-Z0-9]{3}$"
_MOST = 1_000


@dataclass(slots=True)
class _File:
    name: str
    order_type: str
    content: bytes
    taken: bool = False


def downloads_router() -> APIRouter:
    """Routes under /bank/downloads; the files live as long as the process."""
    router = APIRouter(prefix="/bank/downloads", tags=["bank"])
    files: dict[str, _File] = {}

    def known(file_id: str) -> _File:
        if file_id not in files:
            raise HTTPException(404, "there is no such file")
        return files[file_id]

    @router.post("", status_code=201)
    async def put(
        request: Request,
        name: Annotated[str, Query(min_length=1, max_length=200)],
        order_type: Annotated[str, Query(pattern=_ORDER)] = "C53",
    ) -> dict[str, str]:
        """Puts a file on the counter; the same name and content is the same file."""
        content = await request.body()
        file_id = str(uuid5(NAMESPACE, f"download\x1f{order_type}\x1f{name}\x1f{content.hex()}"))
        if len(files) >= _MOST and file_id not in files:
            raise HTTPException(507, "the counter is full")
        files.setdefault(file_id, _File(name, order_type, content))
        return {"id": file_id}

    @router.get("")
    async def offered(order_type: Annotated[str, Query(pattern=_ORDER)] = "C53") -> dict[str, list[dict[str, object]]]:
        """The files of an order type that nobody has acknowledged."""
        return {
            "files": [
                {"id": file_id, "name": file.name, "size": len(file.content)}
                for file_id, file in files.items()
                if file.order_type == order_type and not file.taken
            ]
        }

    @router.get("/{file_id}")
    async def fetch(file_id: str) -> Response:
        """A file's bytes."""
        return Response(known(file_id).content, media_type="application/octet-stream")

    @router.post("/{file_id}/receipt", status_code=204)
    async def receipt(file_id: str) -> None:
        """The client has it: it is not offered again."""
        known(file_id).taken = True

    return router
