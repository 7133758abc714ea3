"""How a daemon is, for service managers and monitors: a file, and an endpoint.

Two questions have different answers. `/health`: does it take work? A database that is away is a
reason not to. `/alive`: does it hang? Only then would a restart help; it would cost the trials that
go on training while the database is restarted.
"""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tuner.errors import UsageError
from tuner.service.daemon import DaemonStatus
from tuner.storage.identity import process_identity, runs_here
from tuner.system.addresses import LOOPBACK, in_url, is_address, is_loopback, split_host
from tuner.system.temporary_folders import written_whole
from tuner.values import in_utc

logger = logging.getLogger(__name__)
# A daemon that has not looked for work for so long hangs.
_SILENT_S = 30.0
_WRITE_EVERY_S = 2.0
_WELL = ("working", "idle")
# The page of metrics: its bytes and their type.
MetricsPage = Callable[[], tuple[bytes, str]]


def is_well(status: DaemonStatus, clock: float) -> bool:
    """Whether the daemon takes work. `clock`: the time in seconds since 1970."""
    return status.state in _WELL and is_alive(status, clock)


def is_alive(status: DaemonStatus, clock: float) -> bool:
    """Whether the daemon does not hang. One that ends looks for no work, and ends by itself."""
    return status.state == "draining" or clock - status.ticked_at < _SILENT_S


def describe_health(status: DaemonStatus) -> dict[str, Any]:
    """The status as JSON holds it, with times in UTC."""
    times = {name: in_utc(getattr(status, name)) for name in ("started_at", "ticked_at")}
    process = process_identity()
    return {"healthy": is_well(status, time.time()), **asdict(status), **times, "process": process}


class HealthFile:
    """Writes the file every two seconds, whole each time, until it is closed; then it is removed: a
    file without a daemon would say that all is well."""

    def __init__(self, file: Path, status: Callable[[], DaemonStatus]) -> None:
        self._file, self._status = file, status
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health file", daemon=True)
        self._is_failing = False

    def start(self) -> None:
        """Raises UsageError where the file cannot be written, or another worker writes it."""
        owner = _process_of(self._file)
        if owner != process_identity() and runs_here(owner):
            raise UsageError(
                f"--health-file {self._file} is written by another worker of this machine: give "
                "each worker a file of its own"
            )
        try:
            self._write()
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"--health-file {self._file} cannot be written: {reason}") from error
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(_WRITE_EVERY_S):
            try:
                self._write()
                self._is_failing = False
            except OSError as error:
                if not self._is_failing:
                    logger.warning("the health file cannot be written: %s", error)
                self._is_failing = True

    def _write(self) -> None:
        with written_whole(self._file) as file:
            file.write_text(json.dumps(describe_health(self._status()), indent=1) + "\n")

    def close(self) -> None:
        self._closed.set()
        self._thread.join(_WRITE_EVERY_S)
        self._file.unlink(missing_ok=True)


def _process_of(file: Path) -> str:
    """The identity of the process that wrote a health file; "" where there is none."""
    with suppress(OSError, ValueError, AttributeError):
        return str(json.loads(file.read_text()).get("process"))
    return ""


class HealthServer:
    """Answers GET /health and GET /alive with 200 or 503, and GET /metrics. `host`: the address to
    listen on, by default one that only this machine can reach. Others are told no names of studies
    and no reasons: there is no login."""

    def __init__(
        self,
        port: int,
        status: Callable[[], DaemonStatus],
        metrics: MetricsPage | None = None,
        host: str = LOOPBACK,
    ) -> None:
        """Raises UsageError where the port is taken, or the address is not of this machine."""
        self._host = host.strip("[]")
        try:
            self._server = _HealthListener(self._host, port, status, metrics)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            where = f"--health-port {port}"
            if host != LOOPBACK:
                where = f"--health-host {host} with {where}"
            raise UsageError(f"{where} cannot be opened: {reason}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True
        )

    @property
    def address(self) -> str:
        """What this machine reaches it by."""
        host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(self._host, self._host)
        return f"http://{in_url(host)}:{self._server.server_port}"

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _HealthListener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self,
        host: str,
        port: int,
        status: Callable[[], DaemonStatus],
        metrics: MetricsPage | None,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.status, self.metrics, self.is_open = status, metrics, not is_loopback(host)
        super().__init__((host, port), _HealthHandler)

    def handle_error(self, *_: object) -> None:
        """A client that leaves is no news."""


class _HealthHandler(BaseHTTPRequestHandler):
    server: _HealthListener
    timeout = 10  # seconds that a client may keep a connection without a request

    def do_GET(self) -> None:
        if not self._is_addressed_here():
            self._answer(403, b"ask for an address of this machine, or localhost\n")
        elif (answers := _QUESTIONS.get(self.path)) is not None:
            status = self.server.status()
            code = 200 if answers(status, time.time()) else 503
            self._answer(code, self._describe(status), "application/json")
        elif self.path == "/metrics" and self.server.metrics is not None:
            self._answer(200, *self.server.metrics())
        else:
            self._answer(404, b"there are /health, /alive and /metrics\n")

    def _is_addressed_here(self) -> bool:
        # A web page elsewhere may have its own name point to this machine.
        host, _ = split_host(self.headers.get("Host") or "")
        is_own = is_address if self.server.is_open else is_loopback
        return host == "localhost" or is_own(host)

    def _describe(self, status: DaemonStatus) -> bytes:
        described = describe_health(status)
        if not is_loopback(self.client_address[0]):
            described = {name: described[name] for name in ("healthy", "state")}
        return json.dumps(described).encode() + b"\n"

    def _answer(self, code: int, page: bytes, kind: str = "text/plain") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(page)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:
        return


_QUESTIONS = {"/health": is_well, "/alive": is_alive}
