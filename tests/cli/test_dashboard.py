"""The Optuna dashboard answers this machine's own browser, and no page of another site."""

import http.client
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.simple_server import make_server
from wsgiref.util import setup_testing_defaults

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.cli import dashboard
from tuner.cli.dashboard import LoopbackOnly, loopback_hosts

PORT = 8080
OWN = ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LocalHost:8080"]
FOREIGN = [
    "evil.example", "evil.example:8080", "localhost", "127.0.0.1", "[::1]", "localhost:8081",
    "127.0.0.1:80", "127.0.0.1.evil.example:8080", "localhost.evil.example:8080", "10.0.0.1:8080",
    "10.evil.example:8080", "0.0.0.0:8080", "127.0.0.2:8080", "localhost:8080@evil.example",
    "evil.example#localhost:8080", "localhost:8080,evil.example", "", " localhost:8080x",
    "2130706433:8080", "localhost.:8080", "[::ffff:127.0.0.1]:8080", "::1:8080",
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"]


def answer(
    host: str | None, origin: str | None = None, method: str = "GET", path: str = "/api/studies"
) -> tuple[str, int]:
    """The status, and how often the application was reached."""
    reached: list[str] = []
    statuses: list[str] = []

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        reached.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return []

    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path}
    setup_testing_defaults(environ)
    environ |= {"HTTP_HOST": host} if host is not None else {}
    if host is None:
        del environ["HTTP_HOST"]
    environ |= {"HTTP_ORIGIN": origin} if origin is not None else {}
    guard = LoopbackOnly(application, loopback_hosts(PORT))
    list(guard(environ, lambda status, headers: statuses.append(status)))
    return statuses[0], len(reached)


@pytest.mark.parametrize("method", METHODS)
def test_the_own_browser_is_served(method: str) -> None:
    for host in OWN:
        assert answer(host, None, method) == ("200 OK", 1)
        for origin in ("http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080"):
            assert answer(host, origin, method) == ("200 OK", 1)


@pytest.mark.parametrize("method", METHODS)
def test_other_hosts_are_refused_before_the_application(method: str) -> None:
    for host in [*FOREIGN, None]:
        for path in ("/", "/dashboard", "/api/studies", "/static/x.js", "/health"):
            assert answer(host, None, method, path) == ("403 Forbidden", 0), host
        assert answer(host, "http://localhost:8080", method) == ("403 Forbidden", 0), host


@pytest.mark.parametrize("method", METHODS)
def test_other_origins_are_refused(method: str) -> None:
    origins = ["null", "", "https://localhost:8080", "http://localhost", "file://"]
    origins += [f"http://{host}" for host in FOREIGN if host]
    origins += ["http://localhost:8080/", "http://localhost:8080, http://evil.example"]
    for origin in origins:
        assert answer("localhost:8080", origin, method) == ("403 Forbidden", 0), origin


@given(st.text(), st.none() | st.text())
def test_whatever_is_not_loopback_is_refused(host: str, origin: str | None) -> None:
    if host.lower() not in loopback_hosts(PORT):
        assert answer(host, origin) == ("403 Forbidden", 0)
    elif origin is None:
        assert answer(host, origin) == ("200 OK", 1)


def test_the_usual_port_may_be_left_out() -> None:
    assert {"localhost", "localhost:80"} <= set(loopback_hosts(80))
    assert "localhost" not in loopback_hosts(8080)
    assert "192.0.2.7:8080" in loopback_hosts(8080, "192.0.2.7")


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server on loopback that answers 200 through the check."""

    def application(_environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "0")])
        return []

    server = make_server("127.0.0.1", 0, application, dashboard._Server, dashboard._Handler)
    server.set_app(LoopbackOnly(application, loopback_hosts(server.server_port)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def status(port: int, *headers: tuple[str, str], target: str = "/", method: str = "GET") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, target, skip_host=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def test_headers_as_a_server_hears_them(port: int) -> None:
    own, evil = f"127.0.0.1:{port}", "evil.example"
    assert status(port, ("Host", own)) == 200
    assert status(port, ("host", f"localhost:{port}")) == 200
    assert status(port) == 403
    assert status(port, ("Host", evil), ("X-Forwarded-Host", own)) == 403
    assert status(port, ("Host", own), ("Host", evil)) == 403
    assert status(port, ("Host", evil), ("Host", own)) == 403
    assert status(port, ("Host", evil), target=f"http://{own}/") == 403
    assert status(port, ("Host", own), ("Origin", f"http://{evil}"), method="DELETE") == 403
    assert status(port, ("Host", own), ("Origin", "null"), method="OPTIONS") == 403
    two = (("Origin", f"http://{own}"), ("Origin", f"http://{evil}"))
    assert status(port, ("Host", own), *two, method="POST") == 403
