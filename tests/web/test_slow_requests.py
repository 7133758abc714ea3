"""A connection whose request comes too slowly is closed; an answer may take its time."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from waiting import wait_until

from tuner.web.security import slow_requests
from tuner.web.security.slow_requests import PunctualProtocol

LIMIT_S = 0.2
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """An answer that comes later than a request may."""
    began = time.monotonic()
    while (await receive()).get("more_body"):
        pass
    while time.monotonic() < began + 2 * LIMIT_S:
        await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(
        answer, port=0, http=PunctualProtocol, lifespan="off", log_level="error"
    )
    server = uvicorn.Server(config)
    with pytest.MonkeyPatch.context() as patch, socket.socket() as listener:
        patch.setattr(slow_requests, "REQUEST_S", LIMIT_S)
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        wait_until(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(20)


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        yield connection


@pytest.mark.parametrize("sent", [b"", HEAD[:20], HEAD, HEAD + b"12"])
def test_a_request_that_does_not_end(port: int, sent: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(sent)
        assert connection.recv(100) == b""


def test_an_answer_may_take_longer_and_another_request_follows(port: int) -> None:
    with connected(port) as connection:
        for _ in range(2):
            connection.sendall(HEAD + b"123")
            assert connection.recv(100).startswith(b"HTTP/1.1 204")
        connection.sendall(HEAD[:20])
        assert connection.recv(100) == b""
