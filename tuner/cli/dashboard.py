"""The Optuna dashboard for this machine alone: `python -m tuner.cli.dashboard PORT`.

The dashboard asks nobody who they are. On loopback that is enough against other machines, but not
against web pages in a browser on this one: a page may send requests here (and a form needs no
permission for that), and by DNS rebinding, where its own name suddenly means 127.0.0.1, it may read
the answers too. Both show in the headers that a browser sets: Origin and Host.
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
    """The Host headers with which this machine's own browser may ask."""
    names = dict.fromkeys(("localhost", "127.0.0.1", "[::1]", listens_on))
    hosts = [f"{name}:{port}" for name in names]
    return [*hosts, *names] if port == 80 else hosts  # browsers leave the usual port out


class LoopbackOnly:
    """A WSGI application behind a check of Host and Origin. What fails it is answered 403, before
    the application hears of it. A missing Origin is fine: no browser leaves it out where a page of
    another site sends more than a plain reading request."""

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
            return "this page is for the names of this machine's loopback alone"
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and origin.lower() not in self._origins:
            return "requests of other sites' pages are not answered"
        return None


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing of requests."""


def serve(port: int) -> None:
    """Serve the dashboard of TUNER_STORAGE until SIGTERM."""
    # The URL is in the environment: a command line shows its passwords to everybody.
    from optuna_dashboard import wsgi

    from tuner.storage import open_store

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    store = open_store(load_settings().storage)
    # Closed, SQLite's file is whole without its -wal.
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(store):
        application = LoopbackOnly(wsgi(store.optuna), loopback_hosts(port))
        with make_server(HOST, port, application, _Server, _Handler) as server:
            server.serve_forever()


if __name__ == "__main__":
    mask_output()
    serve(int(sys.argv[1]))
