"""What is refused before any route sees it, and the headers of every answer.

A page of another site can send requests here from a browser that may reach this server, and with
DNS rebinding, where the site's own name suddenly means this machine, it can read the answers too.
Both show in headers that the browser sets: Host, Origin and Sec-Fetch-Site.
"""

import logging
import socket
from collections.abc import Callable, Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuner.system.addresses import LOOPBACK_NAMES, is_address, is_loopback, split_host
from tuner.system.names import command

MOST_BODY_BYTES = 2**20
_DEFAULT_PORTS = {"http": 80, "https": 443}

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
# A route that sets one of these itself keeps its own. No Strict-Transport-Security: it would hold
# for all ports of the host, and so for programs that speak no TLS.
_HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: browsers would send "Origin: null" with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

log = logging.getLogger(__name__)


class HostRule:
    """Which Host headers are ours. `names`: further ones that the user has given."""

    def __init__(self, host: str, port: int, scheme: str, names: Iterable[str] = ()) -> None:
        self._port = port
        self._scheme = scheme
        self._any_address = not is_loopback(host)
        self._names = {name.lower() for name in (*LOOPBACK_NAMES, host)}
        self._given = {name.lower() for name in names}
        if self._any_address:
            self._names.add(socket.gethostname().lower())

    def accepts(self, header: str) -> bool:
        """Whether a Host header names this server."""
        name, port = split_host(header)
        # Another program in front of this one may listen on a port of its own.
        if name in self._given or header.lower() in self._given:
            return True
        if (port or _DEFAULT_PORTS[self._scheme]) != self._port:
            return False
        # Rebinding needs a name: a page that was loaded from an address is of that address.
        return name in self._names or (self._any_address and is_address(name))

    def is_own_origin(self, origin: str, host: str) -> bool:
        """Whether an Origin header is of a page of ours. TLS may be another program's."""
        schemes = ("https",) if self._scheme == "https" else ("http", "https")
        return origin.lower() in {f"{scheme}://{host.lower()}" for scheme in schemes}


class CheckRequests:
    """Refuses requests for another host and those of other sites' pages, and bodies too large;
    gives every answer its headers, and reports what a route did not expect in one line.
    `answered` is told each status."""

    def __init__(self, app: ASGIApp, hosts: HostRule, answered: Callable[[int], None]) -> None:
        self._app = app
        self._answered = answered
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # no WebSocket is served
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._answered(message["status"])
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            return await refusal(scope, receive, send_with_headers)
        try:
            await self._app(scope, _limited(receive), send_with_headers)
        except _BodyTooLarge:
            if not started:
                await _too_large()(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass  # its user left before the request was read: nobody waits for an answer
        except Exception:
            log.exception("%s %r failed", scope["method"], scope["path"])
            if started:
                raise  # the connection breaks off: half an answer must not look complete
            await _failed()(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._hosts.accepts(host):
            return _plain(
                "403: this page is not served under this name; the name is allowed by: "
                + command("ui", "--allow-host", "NAME"),
                403,
            )
        if not all(self._hosts.is_own_origin(each, host) for each in headers.getlist("origin")):
            return _plain("403: requests from pages of other sites are refused", 403)
        if _is_from_elsewhere(scope, headers):
            return _plain("403: this page may be opened by other sites, not read by them", 403)
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return _plain("400: the length of the request cannot be read", 400)
        return _too_large() if int(length) > MOST_BODY_BYTES else None


def _is_from_elsewhere(scope: Scope, headers: Headers) -> bool:
    """Whether a page of another site, or of another port of this host, asks for anything but a
    page to show."""
    if headers.get("sec-fetch-site") not in ("cross-site", "same-site"):
        return False
    is_navigation = headers.get("sec-fetch-mode") == "navigate"
    is_document = headers.get("sec-fetch-dest") in ("document", "empty", None)
    return not (scope["method"] in ("GET", "HEAD") and is_navigation and is_document)


class _BodyTooLarge(Exception):
    """A body without a length has grown too large."""


def _limited(receive: Receive) -> Receive:
    """Raises _BodyTooLarge once a body has more bytes."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MOST_BODY_BYTES:
            raise _BodyTooLarge
        return message

    return receive_limited


def _too_large() -> PlainTextResponse:
    return _plain(f"413: a request may have at most {MOST_BODY_BYTES // 2**20} MiB", 413)


def _failed() -> PlainTextResponse:
    return _plain("500: the page could not be made; the server's log says why", 500)


def _plain(text: str, status: int) -> PlainTextResponse:
    return PlainTextResponse(f"{text}\n", status)
