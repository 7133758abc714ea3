"""Serving the page: who may reach it, the port, and the server until it is stopped."""

import errno
import logging
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from tuner.errors import TunerError, UsageError
from tuner.settings import Settings, ui_token
from tuner.system.addresses import in_url, is_loopback
from tuner.system.names import command
from tuner.system.secret_masking import remember_values
from tuner.web.application import make_application
from tuner.web.security.accounts import Accounts, users_file
from tuner.web.security.slow_requests import PunctualProtocol
from tuner.web.web_setup import WebSetup

SHORTEST_TOKEN = 16
_LONGEST_TOKEN = 256
_LAST_PORT = 65_535
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
# Streams of events last for ever: a server that stops does not wait for their readers.
_LAST_ANSWERS_S = 1
# A connection for each open page, and some for what it loads.
_MOST_CONNECTIONS = 500


@dataclass(frozen=True)
class PageWanted:
    """What the options of `tuner ui` ask for. `token`: itself, or @FILE. `users`: the users file,
    None for the usual one. `names`: further names of this server, as in a Host header."""

    host: str
    port: int
    token: str | None = None
    users: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    names: tuple[str, ...] = ()


def serve(
    settings: Settings, wanted: PageWanted, say: Callable[[str], None], warn: Callable[[str], None]
) -> None:
    """Serve the page until Ctrl-C or SIGTERM. `say` is told the address, `warn` what is unsafe.
    Raises UsageError for what cannot be served so, and StorageUnavailable."""
    _check_tls(wanted)
    _check_names(wanted)
    accounts, token = _accounts(settings, wanted), _token(wanted)
    _check_closed(wanted, is_open=accounts is None and token is None)
    with _listening(wanted) as listener:
        setup = WebSetup(
            settings,
            host=wanted.host,
            port=listener.getsockname()[1],
            accounts=accounts,
            token=token,
            names=wanted.names,
            secure=wanted.certificate is not None,
        )
        app = make_application(setup)
        app.state.site.store()  # a database that cannot be opened is reported at once
        if not setup.secure and not is_loopback(wanted.host):
            warn(
                "passwords and sessions cross the network unencrypted: give --certificate and "
                "--certificate-key, unless another program in front of this one speaks TLS"
            )
        lines = _lines(setup)
        server = _Server(_config(app, wanted), lambda: say("\n".join(lines)))
        # It raises the signal that has ended it once more.
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    if not server.started:
        raise TunerError("the page could not be started, for the reason above")
    say("stopped")


class _Server(uvicorn.Server):
    """Tells when it answers."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            # From now on its lines are about odd requests and streams that it ends: not for the
            # user. What fails is logged by the application.
            logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
            self._on_start()


def _config(app: Any, wanted: PageWanted) -> uvicorn.Config:
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        # Whoever sends X-Forwarded-For could choose an address for each try to log in.
        proxy_headers=False,
        http=PunctualProtocol,
        ws="none",
        loop="asyncio",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
        ssl_certfile=wanted.certificate,
        ssl_keyfile=wanted.key,
    )


def _lines(setup: WebSetup) -> list[str]:
    """What is said once the page is there."""
    lines = [f"the page: {setup.scheme}://{_shown_host(setup.host)}:{setup.port}/"]
    if setup.accounts is not None:
        lines.append(f"users log in with their passwords: {setup.accounts.file}")
    if setup.token is not None:
        lines.append("whoever has the token may log in, as an operator")
    return [*lines, "Ctrl-C stops it"]


def _shown_host(host: str) -> str:
    """The host of an address that a browser opens."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return in_url(host)


def _accounts(settings: Settings, wanted: PageWanted) -> Accounts | None:
    """The users; None where there are none. Raises UsageError."""
    accounts = Accounts(wanted.users or users_file(settings))
    if not accounts.is_empty:
        return accounts
    if wanted.users is not None:
        raise UsageError(f"{wanted.users} has no users; {_how_to_add_users(wanted)}")
    return None


def _token(wanted: PageWanted) -> str | None:
    """The token of the options, else of TUNER_UI_TOKEN. Raises UsageError."""
    token, where = (wanted.token, "--token") if wanted.token else (ui_token(), "TUNER_UI_TOKEN")
    if token is not None and token.startswith("@"):
        token, where = _first_line(Path(token[1:]).expanduser()), token[1:]
    if token is None:
        return None
    remember_values([token])
    if not SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN or not token.isprintable():
        raise UsageError(
            f"the token of {where} must have from {SHORTEST_TOKEN} to {_LONGEST_TOKEN} "
            "characters; one that nobody guesses: openssl rand -hex 16"
        )
    return token


def _first_line(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip().partition("\n")[0].strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"--token @{file}: the file cannot be read: {reason}") from error


def _how_to_add_users(wanted: PageWanted) -> str:
    users = () if wanted.users is None else ("--users", wanted.users)
    return f"add one: {command('ui', 'adduser', *users, 'NAME', '--role', 'operator')}"


def _check_closed(wanted: PageWanted, is_open: bool) -> None:
    """Raises UsageError where others could come in without a login."""
    if not is_open:
        return
    needed = (
        f"needs a login: set TUNER_UI_TOKEN, give --token @FILE, or {_how_to_add_users(wanted)}"
    )
    if not is_loopback(wanted.host):
        raise UsageError(f"--host {wanted.host} lets other machines in, and {needed}")
    if wanted.names:
        raise UsageError(f"--allow-host {wanted.names[0]} lets another program in, and {needed}")


def _check_names(wanted: PageWanted) -> None:
    for name in wanted.names:
        if not _NAME.fullmatch(name):
            raise UsageError(f"--allow-host takes a name such as tuner.example.com, got {name!r}")


def _check_tls(wanted: PageWanted) -> None:
    """Raises UsageError for a certificate and key that cannot be used."""
    if wanted.certificate is None and wanted.key is None:
        return
    if wanted.certificate is None or wanted.key is None:
        raise UsageError("--certificate and --certificate-key must be given together")
    for option, file in (("--certificate", wanted.certificate), ("--certificate-key", wanted.key)):
        try:
            file.read_bytes()
        except OSError as error:
            raise UsageError(f"{option} {file} cannot be read: {error.strerror}") from error
    try:
        # Without the password OpenSSL would ask for it on the terminal.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(wanted.certificate, wanted.key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(
            f"{wanted.certificate} and {wanted.key} are no certificate and its key in PEM files, "
            "or the key has a password"
        ) from error


def _listening(wanted: PageWanted) -> socket.socket:
    """A socket that listens; port 0 takes any free one. Raises UsageError."""
    if not 0 <= wanted.port <= _LAST_PORT:
        raise UsageError(f"--port must be from 0 to {_LAST_PORT}, got {wanted.port}")
    try:
        addresses = socket.getaddrinfo(wanted.host, wanted.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = addresses[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {wanted.host} is no address of this machine") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UsageError(_why_not_bound(wanted, error)) from error
    return listener


def _why_not_bound(wanted: PageWanted, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"port {wanted.port} needs root's rights; choose one above 1023"
    if error.errno == errno.EADDRINUSE:
        return f"port {wanted.port} is in use; to take any free one: {command('ui', '--port', 0)}"
    return f"--host {wanted.host} is no address of this machine"
