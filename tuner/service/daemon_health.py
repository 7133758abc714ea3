"""How a daemon is, for service managers and monitors: a file, and an endpoint on loopback."""

import json
import logging
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
from tuner.system.temporary_folders import written_whole
from tuner.values import in_utc

logger = logging.getLogger(__name__)
# A daemon that has not looked for work for so long hangs.
_SILENT_S = 30.0
_WRITE_EVERY_S = 2.0
_HOST = "127.0.0.1"
_WELL = ("working", "idle")
# The page of metrics: its bytes and their type.
MetricsPage = Callable[[], tuple[bytes, str]]


def is_well(status: DaemonStatus, clock: float) -> bool:
    """Whether the daemon takes work. `clock`: the time in seconds since 1970."""
    return status.state in _WELL and clock - status.ticked_at < _SILENT_S


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
    """Answers GET /health, with 200 or 503, and GET /metrics on a port of loopback."""

    def __init__(
        self, port: int, status: Callable[[], DaemonStatus], metrics: MetricsPage | None = None
    ) -> None:
        """Raises UsageError where the port is taken."""
        handler = _handler(status, metrics)
        try:
            self._server = ThreadingHTTPServer((_HOST, port), handler)
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"--health-port {port} cannot be opened: {reason}") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True
        )

    @property
    def address(self) -> str:
        return f"http://{_HOST}:{self._server.server_port}"

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(
    status: Callable[[], DaemonStatus], metrics: MetricsPage | None
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds that a client may keep a connection without a request

        def do_GET(self) -> None:
            if not self._is_addressed_here():
                self._answer(403, b"ask for 127.0.0.1 or localhost\n", "text/plain")
            elif self.path == "/health":
                now = status()
                page = json.dumps(describe_health(now)).encode() + b"\n"
                self._answer(200 if is_well(now, time.time()) else 503, page, "application/json")
            elif self.path == "/metrics" and metrics is not None:
                self._answer(200, *metrics())
            else:
                self._answer(404, b"there are /health and /metrics\n", "text/plain")

        def _is_addressed_here(self) -> bool:
            # A web page elsewhere may have its own name point to this machine.
            host = (self.headers.get("Host") or "").rpartition(":")[0]
            return host in (_HOST, "localhost")

        def _answer(self, code: int, page: bytes, kind: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(page)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler
