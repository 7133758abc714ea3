"""A tool's server in a process of its own: `python -m tuner.web.tool_process TOOL SOCKET`.

The server listens on a Unix socket, not on a port: the socket's folder lets only its user in, so
that other users of the machine cannot get round the page's login. The URLs of the databases come
through the environment, since other users can read a command line.
"""

import contextlib
import os
import runpy
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from socket import AF_UNIX
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from tuner.settings import load_settings
from tuner.system.secret_masking import mask_output

# What a server has for its end.
END_S = 5.0


def serve_mlflow(socket: str) -> None:
    """MLflow's own server, of the store in MLFLOW_BACKEND_STORE_URI."""
    # uvicorn puts the current folder before all libraries, unless it gets another one.
    uvicorn = shlex.join(["--uds", socket, "--app-dir", str(Path(os.__file__).parent)])
    sys.argv = ["mlflow", "server", "--workers", "1", "--uvicorn-opts", uvicorn]
    runpy.run_module("mlflow", run_name="__main__", alter_sys=True)


class _SocketServer(ThreadingMixIn, WSGIServer):
    """A WSGI server on a Unix socket."""

    address_family = AF_UNIX
    daemon_threads = True

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's looks up the name of a host
        self.server_name, self.server_port = "localhost", 80
        self.setup_environ()

    def get_request(self) -> tuple[Any, Any]:
        return super().get_request()[0], ("local", 0)  # a socket's peer has no address


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Do not log requests."""


def serve_dashboard(socket: str) -> None:
    """The Optuna dashboard of TUNER_STORAGE, until SIGTERM."""
    from optuna_dashboard import wsgi

    from tuner.storage import open_store
    from tuner.storage.studies import name_objectives

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    store = open_store(load_settings().storage, may_only_read=True)
    # Closing moves SQLite's -wal into the file.
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(store):
        name_objectives(store)
        with _SocketServer(socket, _Handler) as server:  # type: ignore[arg-type]
            server.set_app(wsgi(store.optuna))
            server.serve_forever()


TOOLS: dict[str, Callable[[str], None]] = {"mlflow": serve_mlflow, "dashboard": serve_dashboard}


def end_with_the_page() -> None:
    """End this process and its children when the page's process ends, however that happens: its end
    of the pipe on stdin is closed then."""
    while os.read(0, 1024):
        pass
    os.killpg(os.getpgid(0), signal.SIGTERM)
    time.sleep(END_S)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    mask_output()
    threading.Thread(target=end_with_the_page, daemon=True).start()
    TOOLS[sys.argv[1]](sys.argv[2])
