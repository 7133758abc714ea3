"""The Optuna dashboard for this machine only: `python -m tuner.cli.dashboard PORT`.

The dashboard has no login. On loopback other machines cannot reach it, but web pages in a browser
on this machine can: a page may send requests here (a form needs no permission), and with DNS
rebinding, where the page's own name suddenly means 127.0.0.1, it can also read the answers. Both
attacks show in the headers that the browser sets: Origin and Host.
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from tuner.settings import load_settings
from tuner.system.logs import mask_output

HOST = "127.0.0.1"

Environment = dict[str, Any]
Application = Callable[[Environment, Callable[..., Any]], Iterable[bytes]]


def loopback_hosts(port: int, listens_on: str = HOST) -> list[str]:
    """The Host headers that a browser on this machine may send."""
    names = dict.fromkeys(("localhost", "127.0.0.1", "[::1]", listens_on))
    hosts = [f"{name}:{port}" for name in names]
    return [*hosts, *names] if port == 80 else hosts  # Browsers omit the default port.


class LoopbackOnly:
    """A WSGI application behind a check of Host and Origin. Requests that fail it get 403 and never
    reach the application. Origin may be missing: a browser omits it only for plain reading requests
    of other sites."""

    def __init__(self, application: Application, hosts: Sequence[str]) -> None:
        self._application = application
        self._hosts = frozenset(hosts)
        self._origins = frozenset(f"http://{host}" for host in hosts)

    def __call__(self, environ: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        complaint = self._complaint(environ)
        if complaint is None:
            return self._application(environ, start_response)
        body = f"403 Forbidden: {complaint}\n".encode()
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        start_response("403 Forbidden", headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

    def _complaint(self, environ: Environment) -> str | None:
        if environ.get("HTTP_HOST", "").lower() not in self._hosts:
            return "this page is served only under the names of this machine's loopback"
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and origin.lower() not in self._origins:
            return "requests from pages of other sites are refused"
        return None


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Do not log requests."""


def serve(port: int) -> None:
    """Serve the dashboard of TUNER_STORAGE until SIGTERM."""
    # The URL comes from the environment: other users can read a command line.
    from optuna_dashboard import wsgi

    from tuner.storage import open_store

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    store = open_store(load_settings().storage)
    # Closing moves SQLite's -wal into the file.
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(store):
        application = LoopbackOnly(wsgi(store.optuna), loopback_hosts(port))
        with make_server(HOST, port, application, _Server, _Handler) as server:
            server.serve_forever()


if __name__ == "__main__":
    mask_output()
    serve(int(sys.argv[1]))
