"""The page answers browsers that mean it, and no page of another site; every answer has its
headers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from tuner.system.addresses import is_loopback
from tuner.web.security.request_checks import MOST_BODY_BYTES, CheckRequests, HostRule

Headers = list[tuple[str, str]]
PORT = 8080
LOOPBACK = HostRule("127.0.0.1", PORT, "http")
OWN = ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LocalHost:8080"]
FOREIGN = [
    "evil.example", "evil.example:8080", "localhost", "127.0.0.1", "[::1]", "localhost:8081",
    "127.0.0.1:80", "127.0.0.1.evil.example:8080", "localhost.evil.example:8080", "10.0.0.1:8080",
    "10.evil.example:8080", "0.0.0.0:8080", "127.0.0.2:8080", "localhost:8080@evil.example",
    "evil.example#localhost:8080", "localhost:8080,evil.example", "", " localhost:8080x",
    "2130706433:8080", "localhost.:8080", "[::ffff:127.0.0.1]:8080", "::1:8080",
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"]


class Application:
    """Reads the body and answers 200, or fails."""

    def __init__(self, fails: bool = False) -> None:
        self.reached = 0
        self.fails = fails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        self.reached += 1
        if self.fails:
            raise ValueError("a secret of the database")
        headers = [(b"cache-control", b"no-cache")] if scope["path"] == "/own" else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def sent(
    headers: Headers,
    method: str = "GET",
    path: str = "/",
    hosts: HostRule = LOOPBACK,
    app: Application | None = None,
    body: tuple[bytes, ...] = (b"",),
) -> tuple[int, dict[str, str], int, str]:
    """The answer to a request: its status and headers, how often the application was reached, and
    the body."""
    app = app or Application()
    pieces = list(body)
    messages: list[Message] = []

    async def receive() -> Message:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        messages.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "headers": raw}
    answering = CheckRequests(app, hosts, lambda status: None)(scope, receive, send)
    with pytest.raises(StopIteration):  # nothing in it waits: no event loop is needed
        answering.send(None)
    answered = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return messages[0]["status"], answered, app.reached, messages[1]["body"].decode()


def outcome(host: str | None, origin: str | None = None, **request: Any) -> tuple[int, int]:
    headers = [("host", host)] if host is not None else []
    headers += [("origin", origin)] if origin is not None else []
    status, _, reached, _ = sent(headers, **request)
    return status, reached


@pytest.mark.parametrize("method", METHODS)
def test_the_own_browser_is_served(method: str) -> None:
    for host in OWN:
        assert outcome(host, method=method) == (200, 1)
        for scheme in ("http", "https"):  # TLS may be that of a program in front of this one
            assert outcome(host, f"{scheme}://{host}", method=method) == (200, 1)


@pytest.mark.parametrize("method", METHODS)
def test_other_hosts_are_refused_before_the_application(method: str) -> None:
    for host in [*FOREIGN, None]:
        for path in ("/", "/dashboard", "/api/studies", "/static/x.js", "/health"):
            assert outcome(host, method=method, path=path) == (403, 0), host
        assert outcome(host, "http://localhost:8080", method=method) == (403, 0), host


@pytest.mark.parametrize("method", METHODS)
def test_other_origins_are_refused(method: str) -> None:
    origins = ["null", "", "http://localhost", "file://", "http://127.0.0.1:8080"]
    origins += [f"http://{host}" for host in FOREIGN if host]
    origins += ["http://localhost:8080/", "http://localhost:8080, http://evil.example"]
    for origin in origins:
        assert outcome("localhost:8080", origin, method=method) == (403, 0), origin


@given(st.text(alphabet=st.characters(codec="latin-1")))
def test_whatever_is_not_loopback_is_refused(host: str) -> None:
    assert LOOPBACK.accepts(host) == (host.lower() in {own.lower() for own in OWN})


def test_two_headers_are_not_one() -> None:
    own, evil = "127.0.0.1:8080", "evil.example"
    for first, second in ((own, evil), (evil, own), (own, own)):
        assert sent([("host", first), ("host", second)])[0] == 403
    assert sent([("host", evil), ("x-forwarded-host", own)])[0] == 403
    origins = [("origin", f"http://{own}"), ("origin", f"http://{evil}")]
    for order in (origins, origins[::-1]):
        assert sent([("host", own), *order], "POST")[0] == 403


def test_open_to_a_network_it_has_addresses_but_no_foreign_name() -> None:
    everywhere = HostRule("0.0.0.0", PORT, "https", ["tuner.example.com"])
    for host in ("192.0.2.7:8080", "[2001:db8::1]:8080", "localhost:8080", "tuner.example.com"):
        assert everywhere.accepts(host), host
    for host in ("evil.example:8080", "192.0.2.7", "192.0.2.7:81", "192.0.2.7.evil.example:8080"):
        assert not everywhere.accepts(host), host
    assert not everywhere.is_own_origin("http://tuner.example.com", "tuner.example.com")
    assert HostRule("127.0.0.1", 80, "http").accepts("localhost")  # browsers leave it out
    assert HostRule("127.0.0.1", 443, "https").accepts("localhost")


@pytest.mark.parametrize(
    ("site", "mode", "destination", "method", "status"),
    [
        ("cross-site", "navigate", "document", "GET", 200),  # a link
        ("cross-site", "navigate", "document", "POST", 403),
        ("cross-site", "navigate", "iframe", "GET", 403),
        ("cross-site", "no-cors", "script", "GET", 403),
        ("same-site", "cors", "empty", "GET", 403),  # another port of this machine
        ("same-origin", "cors", "empty", "POST", 200),
        ("none", "navigate", "document", "GET", 200),
    ],
)
def test_other_sites_may_link_here_and_no_more(
    site: str, mode: str, destination: str, method: str, status: int
) -> None:
    headers = [("host", OWN[0]), ("sec-fetch-site", site), ("sec-fetch-mode", mode)]
    headers += [("sec-fetch-dest", destination)]
    assert sent(headers, method)[0] == status


def test_every_answer_has_its_headers() -> None:
    answers = [
        sent([("host", OWN[0])]),
        sent([("host", "evil.example")]),
        sent([("host", OWN[0])], app=Application(fails=True)),
    ]
    for (_, headers, _, _), status in zip(answers, (200, 403, 500), strict=True):
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy, status
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in headers
    assert sent([("host", OWN[0])], path="/own")[1]["cache-control"] == "no-cache"


def test_a_failure_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    status, _, _, body = sent([("host", OWN[0])], app=Application(fails=True))
    assert status == 500
    assert "secret" not in body
    assert "a secret of the database" in caplog.text


def test_a_browser_that_leaves_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def leave(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnect

    async def none(*_: Any) -> Any:
        raise AssertionError("nobody waits for an answer")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"host", b"localhost:8080")],
    }
    answering = CheckRequests(leave, LOOPBACK, lambda status: None)(scope, none, none)
    with pytest.raises(StopIteration):
        answering.send(None)
    assert caplog.text == ""


def test_no_websocket_reaches_a_route() -> None:
    """Browsers send cookies with them, and no check of Origin holds for them."""

    async def answer(*_: Any) -> Any:
        raise AssertionError("a route was reached")

    scope = {"type": "websocket", "path": "/", "headers": [(b"host", b"localhost:8080")]}
    with pytest.raises(StopIteration):
        CheckRequests(answer, LOOPBACK, lambda status: None)(scope, answer, answer).send(None)


def test_bodies_have_a_largest_size() -> None:
    own = [("host", OWN[0])]
    too_many = str(MOST_BODY_BYTES + 1)
    assert sent([*own, ("content-length", too_many)], "POST")[0] == 413
    assert sent([*own, ("content-length", "-1")], "POST")[0] == 400
    large = (b"x" * MOST_BODY_BYTES, b"x")
    assert sent(own, "POST", body=large)[0] == 413  # without a length
    assert sent(own, "POST", body=large[:1])[0] == 200
    assert sent([*own, ("content-length", too_many)], "PUT", path="/mlflow/x")[0] == 413


def test_which_addresses_are_of_this_machine_alone() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.0.2.7", "", "example.com"))
