"""The servers of MLflow's pages and of the Optuna dashboard.

A server of this machine is a child process that starts when somebody first asks for its pages: one
of MLflow takes 500 MB and some seconds of both cores, which a search would miss. It listens on a
Unix socket in a folder that only this user can open, never on a port. A server elsewhere gets the
login that MLflow's own client would send; nothing of it is ever shown.
"""

import asyncio
import base64
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx

from tuner.settings import MlflowLogin, Settings, mlflow_login, server_environment
from tuner.storage import exists
from tuner.storage.studies import how_to_create
from tuner.system.child_processes import end_groups, signal_group
from tuner.system.locations import sqlite_file
from tuner.system.logs import last_line
from tuner.system.secret_masking import remember_values, without_secrets
from tuner.system.temporary_folders import OwnFolder
from tuner.tracking.links import server_address
from tuner.web.tool_process import END_S

# The Host header of requests to servers of this machine.
_HOST = "localhost"
_RESTART_S = 5.0
# Of a socket's path, the zero byte at its end included: 108 on Linux, 104 on macOS.
_LONGEST_PATH = 104
_TIMEOUTS = httpx.Timeout(10.0, read=120.0)


@dataclass(frozen=True)
class NotReady:
    """Why a tool cannot answer, in one line. `is_starting`: it soon can. `is_empty`: it has nothing
    to show yet, which is no error."""

    line: str
    is_starting: bool = False
    is_empty: bool = False


class ToolServer(Protocol):
    """What answers requests for a tool's pages."""

    @property
    def base(self) -> httpx.URL:
        """The address before the paths of the tool's pages, without a slash at its end."""
        ...

    def open(self) -> httpx.AsyncClient | NotReady:
        """A client of the server, whose login it adds; never waits. A server of this machine is
        started if it does not run."""
        ...

    async def close(self) -> None: ...


class LocalServer:
    """A server of this machine. `tool`: of TOOLS in tool_process.py. `missing`: why there is
    nothing to serve yet, or None."""

    base = httpx.URL(f"http://{_HOST}")

    def __init__(
        self,
        name: str,
        tool: str,
        environment: dict[str, str],
        folder: Path,
        missing: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._name, self._tool, self._missing = name, tool, missing
        self._environment = environment
        self._socket, self._log = folder / f"{tool}.sock", folder / f"{tool}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.AsyncClient | None = None
        self._ended: float | None = None
        self._lock = threading.Lock()

    def open(self) -> httpx.AsyncClient | NotReady:
        with self._lock:
            if self._process is None and (missing := self._missing()) is not None:
                return NotReady(missing, is_empty=True)
            if self._process is not None and self._process.poll() is not None:
                if (problem := self._has_ended(self._process)) is not None:
                    return problem
                self._process = None
            if self._process is None:
                return self._start() or self._starting()
            if not self._answers():
                return self._starting()
            if self._client is None:
                transport = httpx.AsyncHTTPTransport(uds=str(self._socket))
                self._client = _client(transport)
            return self._client

    def _starting(self) -> NotReady:
        line = f"{self._name} is starting; its page comes by itself"
        return NotReady(line, is_starting=True)

    def _has_ended(self, process: subprocess.Popen[bytes]) -> NotReady | None:
        """Why it has ended; after some seconds None, and it is started again."""
        now = time.monotonic()
        if self._ended is None:
            self._ended = now
            signal_group(process, signal.SIGKILL)  # what it has started
        if now - self._ended >= _RESTART_S:
            self._ended, self._client = None, None
            return None
        reason = last_line(self._log)
        why = f": {reason}" if reason else f" with exit code {process.returncode}"
        return NotReady(f"{self._name} has ended{why}; it is started again in some seconds")

    def _start(self) -> NotReady | None:
        """Start the process. Where it cannot be, why."""
        if len(os.fsencode(self._socket)) >= _LONGEST_PATH:
            return NotReady(f"{self._name} needs a shorter temporary folder: set TMPDIR=/tmp")
        self._socket.unlink(missing_ok=True)
        command = [sys.executable, "-P", "-m", "tuner.web.tool_process"]
        with self._log.open("wb") as log:
            # In a session of its own the child gets no Ctrl-C. It ends when its stdin is closed.
            self._process = subprocess.Popen(
                [*command, self._tool, str(self._socket)],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return None

    def _answers(self) -> bool:
        if self._client is not None:
            return True
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self._socket))
            return True
        return False

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        if self._process is not None:
            await asyncio.to_thread(_end, self._process)
            self._process = None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server with its children."""
    end_groups([process], END_S)
    if process.stdin is not None:
        process.stdin.close()


@dataclass
class RemoteServer:
    """MLflow's server at an address. `login`: what its own client would send."""

    base: httpx.URL
    login: MlflowLogin
    _client: httpx.AsyncClient | None = field(default=None, init=False)

    def open(self) -> httpx.AsyncClient | NotReady:
        if self._client is None:
            try:
                verify = _certificates(self.login)
            except OSError as error:
                problem = error.strerror or str(error)
                return NotReady(f"the certificates for MLflow cannot be read: {problem}")
            # Proxies and certificates of the environment hold, as for MLflow's own client.
            self._client = _client(None, _authorization(self.login), verify)
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _authorization(login: MlflowLogin) -> str | None:
    """The header with the login, as MLflow's own client makes it."""
    if login.username is not None and login.password is not None:
        text = f"{login.username}:{login.password}".encode()
        return f"Basic {base64.b64encode(text).decode()}"
    return f"Bearer {login.token}" if login.token else None


def _client(
    transport: httpx.AsyncBaseTransport | None,
    authorization: str | None = None,
    verify: ssl.SSLContext | bool = True,
) -> httpx.AsyncClient:
    """Redirects are not followed: another host must not get the login."""
    return httpx.AsyncClient(
        transport=transport,
        headers={"Authorization": authorization} if authorization else None,
        verify=verify,
        timeout=_TIMEOUTS,
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
        trust_env=transport is None,
    )


def _certificates(login: MlflowLogin) -> ssl.SSLContext | bool:
    """What the server's certificate is checked with. Raises OSError."""
    if login.insecure_tls:
        return False
    if not (login.server_certificate or login.client_certificate):
        return True
    context = ssl.create_default_context(cafile=login.server_certificate)
    if login.client_certificate:
        context.load_cert_chain(login.client_certificate)
    return context


class ToolServers:
    """The servers of both tools, as a context: they end with it."""

    def __init__(self, settings: Settings) -> None:
        # Mode 0700: other users cannot reach the sockets in it.
        self._folder = OwnFolder("tuner-ui-")
        folder, environment = Path(self._folder.name), server_environment(settings, [_HOST])
        self.dashboard: ToolServer = LocalServer(
            "the Optuna dashboard",
            "dashboard",
            environment,
            folder,
            lambda: None if exists(settings.storage) else f"no study yet; {how_to_create()}",
        )
        self.mlflow: ToolServer = _mlflow(settings, environment, folder)

    async def close(self) -> None:
        await asyncio.gather(self.mlflow.close(), self.dashboard.close())
        self._folder.cleanup()


def _mlflow(settings: Settings, environment: dict[str, str], folder: Path) -> ToolServer:
    address = server_address(settings.tracking_uri)
    if address is not None:
        login = mlflow_login(settings.tracking_uri)
        remember_values([login.password, login.token])
        return RemoteServer(httpx.URL(address), login)

    def missing() -> str | None:
        file = sqlite_file(settings.tracking_uri)
        if file is None or file.exists():
            return None
        return (
            f"MLflow has no runs yet: a search makes its store, {without_secrets(str(file))}, "
            "when its first trial begins"
        )

    return LocalServer("MLflow", "mlflow", environment, folder, missing)
