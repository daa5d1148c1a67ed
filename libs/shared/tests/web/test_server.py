"""What only a real server shows: its headers, bodies without a length, clients that leave, broken-off answers."""

import asyncio
import contextlib
from typing import Annotated

import httpx
import pytest
import structlog
import uvicorn
from fastapi import Request
from fastapi.responses import StreamingResponse
from shared.web.app import create_app, server_config
from shared.web.auth import Caller, requires
from shared.web.route import Router

Any = Annotated[Caller, requires()]


@pytest.fixture
async def address(verifier, cursors):
    router = Router()

    @router.post("/size", max_body_size=1000)
    async def size(_: Any, request: Request) -> int:
        return len(await request.body())

    @router.post("/json")
    async def json(_: Any, body: dict) -> int:
        return len(body)

    @router.get("/breaks")
    async def breaks(_: Any) -> StreamingResponse:
        async def rows():
            yield b"one"
            raise RuntimeError("half way")

        return StreamingResponse(rows())

    app = create_app(title="t", version="1", routers=[router], verifier=verifier, database=None, cursors=cursors, readiness={})
    server = uvicorn.Server(server_config(app, host="127.0.0.1", port=0))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    await task


async def test_headers_limits_and_broken_answers(address, issuer):
    async def endless():
        while True:
            yield b"x" * 100
            await asyncio.sleep(0)

    async with httpx.AsyncClient(base_url=f"http://{address[0]}:{address[1]}", headers=issuer.bearer()) as client:
        answer = await client.post("/size", content=b"x" * 1000)
        assert (answer.status_code, answer.json()) == (200, 1000)
        assert "server" not in answer.headers
        assert answer.headers["x-request-id"]
        assert (await client.post("/size", content=b"x" * 1001)).status_code == 413
        with structlog.testing.capture_logs() as logs, contextlib.suppress(httpx.NetworkError):  # closed while we still send
            async with asyncio.timeout(5):
                assert (await client.post("/size", content=endless())).status_code == 413
        assert [line["status"] for line in logs if line["event"] == "request"] == [413]
        with structlog.testing.capture_logs() as logs, pytest.raises(httpx.RemoteProtocolError):
            await client.get("/breaks")
        assert any(line["event"] == "response broken off" and "half way" in line["stack"] for line in logs)


async def test_a_client_that_leaves_is_no_failure(address, issuer):
    with structlog.testing.capture_logs() as logs:
        _, writer = await asyncio.open_connection(*address)
        token = issuer.bearer()["authorization"]
        writer.write(f"POST /json HTTP/1.1\r\nhost: t\r\nauthorization: {token}\r\ncontent-length: 500\r\n\r\n{{".encode())
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(5):
            while not any(line["event"] == "request" for line in logs):  # noqa: ASYNC110 - the log is what we wait for
                await asyncio.sleep(0.01)
    assert not [line for line in logs if line["log_level"] == "error"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /%ff%fe%00 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
        b"POST /json HTTP/1.1\r\nhost: t\r\ncontent-length: -1\r\n\r\n",
    ],
)
async def test_junk_on_the_wire_is_refused(address, raw):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(raw)
    async with asyncio.timeout(5):
        answer = await reader.read(65536)
    writer.close()
    await writer.wait_closed()
    assert b" 500 " not in answer.partition(b"\r\n")[0]
    assert not answer or answer.startswith(b"HTTP/1.1 4")
