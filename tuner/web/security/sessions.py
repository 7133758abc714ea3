"""Logging in and out, and who sends a request.

A session is a signed cookie. The key is made when the server starts, so sessions end with it. A
cookie names its session, its user and the password that it was made with: a changed password or a
removed user ends it, and the role is always the user's present one.
"""

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuner.web.security.accounts import Accounts, Role
from tuner.web.security.login_limits import LoginLimits, client_address

SESSION_S = 12 * 3600
TOKEN_NAME = "token"
_OLDEST_COOKIE_S = 10 * 365 * 86_400
_MOST_REVOKED = 100_000


@dataclass(frozen=True)
class Visitor:
    """Who sends a request. `name`: "" where no login is asked for. `session_id`: "" for a script,
    which may only read."""

    name: str
    role: Role
    session_id: str = ""

    @property
    def may_change(self) -> bool:
        return self.role is Role.OPERATOR


class Sessions:
    """Makes sessions and checks them. `accounts`, `token`: who may log in; without both, the page
    is open to every program of this machine, which must be all that can reach it."""

    def __init__(self, accounts: Accounts | None, token: str | None) -> None:
        self.accounts = accounts
        self.limits = LoginLimits()
        self._token = token
        self._key = secrets.token_bytes(32)
        self._cookies = URLSafeTimedSerializer(self._key, salt="session")
        self._messages = URLSafeTimedSerializer(self._key, salt="message")
        self._revoked: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether no login is asked for."""
        return self.accounts is None and self._token is None

    @property
    def takes_token(self) -> bool:
        return self._token is not None

    def log_in(self, name: str, secret: str) -> str | None:
        """The cookie of a new session, if the secret is the user's password; without a name, if it
        is the token."""
        if not name:
            if not self._is_token(secret):
                return None
            return self._new_cookie(TOKEN_NAME, is_user=False)
        if self.accounts is None or self.accounts.check(name, secret) is None:
            return None
        return self._new_cookie(name, is_user=True)

    def open_cookie(self) -> str:
        """The cookie of a new session where no login is asked for."""
        return self._new_cookie("", is_user=False)

    def visitor(self, cookie: str) -> Visitor | None:
        """The visitor of a session that holds."""
        oldest_s = _OLDEST_COOKIE_S if self.is_open else SESSION_S
        try:
            content = self._cookies.loads(cookie, max_age=oldest_s)
            session_id, name, mark = content["id"], content["name"], content["mark"]
            is_user = content["user"]
        except (BadData, KeyError, TypeError):
            return None
        role, present_mark = self._standing(name, is_user)
        if role is None or not hmac.compare_digest(mark, present_mark):
            return None
        with self._lock:
            if session_id in self._revoked:
                return None
        return Visitor(name, role, session_id)

    def script(self, token: str) -> Visitor | None:
        """The visitor that sends the token with each request. It may only read."""
        return Visitor(TOKEN_NAME, Role.READER) if self._is_token(token) else None

    def end(self, visitor: Visitor) -> None:
        """No copy of the session's cookie holds any longer."""
        now = time.monotonic()
        with self._lock:
            for session_id in [each for each, until in self._revoked.items() if until < now]:
                del self._revoked[session_id]
            if len(self._revoked) < _MOST_REVOKED:
                self._revoked[visitor.session_id] = now + SESSION_S

    def form_token(self, visitor: Visitor) -> str:
        """What a form of this session carries: pages of other sites cannot know it."""
        return hmac.new(self._key, f"form:{visitor.session_id}".encode(), "sha256").hexdigest()

    def is_form_token(self, visitor: Visitor, token: str) -> bool:
        expected = self.form_token(visitor).encode()
        return bool(visitor.session_id) and hmac.compare_digest(token.encode(), expected)

    def sign(self, content: Any) -> str:
        """A short-lived message to a page that this browser will load next."""
        return str(self._messages.dumps(content))

    def signed(self, text: str) -> Any:
        """The same, read; None for anything else."""
        try:
            return self._messages.loads(text, max_age=60)
        except BadData:
            return None

    def _new_cookie(self, name: str, is_user: bool) -> str:
        _, mark = self._standing(name, is_user)
        session_id = secrets.token_urlsafe(16)
        content = {"id": session_id, "name": name, "mark": mark, "user": is_user}
        return str(self._cookies.dumps(content))

    def _standing(self, name: str, is_user: bool) -> tuple[Role | None, str]:
        """The present role of a user, None for one who may not come in, and a mark that changes
        with the password."""
        if not is_user:
            return Role.OPERATOR, self._mark(self._token or "")
        account = self.accounts.find(name) if self.accounts else None
        return (account.role, self._mark(account.hash)) if account else (None, "")

    def _mark(self, secret: str) -> str:
        return hmac.new(self._key, f"mark:{secret}".encode(), hashlib.sha256).hexdigest()[:32]

    def _is_token(self, secret: str) -> bool:
        if self._token is None:
            return False
        return hmac.compare_digest(_digest(secret), _digest(self._token))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


class SessionMiddleware:
    """Finds out who sends a request: `request.state.visitor`, None for who must log in. Where no
    login is asked for, it begins a session."""

    def __init__(self, app: ASGIApp, sessions: Sessions, cookie: "CookieNames") -> None:
        self._app = app
        self._sessions = sessions
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        connection = HTTPConnection(scope)
        visitor = self._visitor(connection)
        begun = ""
        if visitor is None and self._sessions.is_open:
            begun = self._sessions.open_cookie()
            visitor = self._sessions.visitor(begun)
        connection.state.visitor = visitor

        async def send_with_cookie(message: Message) -> None:
            if begun and message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.append("set-cookie", self._cookie.setting(self._cookie.session, begun))
            await send(message)

        await self._app(scope, receive, send_with_cookie)

    def _visitor(self, connection: HTTPConnection) -> Visitor | None:
        cookie = connection.cookies.get(self._cookie.session)
        if cookie is not None and (visitor := self._sessions.visitor(cookie)) is not None:
            return visitor
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        limits, address = self._sessions.limits, client_address(connection.scope)
        if limits.try_again_after(address, TOKEN_NAME) > 0:
            return None
        visitor = self._sessions.script(token.strip())
        if visitor is not None:
            limits.forget(address, TOKEN_NAME)
        return visitor


@dataclass(frozen=True)
class CookieNames:
    """The cookies of this server. Their names hold its port: browsers send the cookies of a host to
    all of its ports."""

    port: int
    secure: bool

    @property
    def session(self) -> str:
        return self._named("session")

    @property
    def message(self) -> str:
        return self._named("message")

    def _named(self, use: str) -> str:
        # The prefix has browsers refuse such a cookie from any other host, or without TLS.
        return f"{'__Host-' * self.secure}tuner-{use}-{self.port}"

    def setting(self, name: str, value: str, max_age_s: int | None = None) -> str:
        """The header that sets a cookie; an empty value removes it. Lax: links from messages and
        other pages show the page without another login. What changes anything is a POST, which
        carries a form token too."""
        parts = [f"{name}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
        parts += ["Secure"] * self.secure
        if not value:
            max_age_s = 0
        parts += [] if max_age_s is None else [f"Max-Age={max_age_s}"]
        return "; ".join(parts)
