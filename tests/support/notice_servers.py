"""Those who are told of a search: a web server and a mail server of this process."""

import contextlib
import email
import io
import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from waiting import wait_until


class WebTarget:
    """What was posted, in order: `posts` as JSON, `requests` as (path, headers). `answers`: the
    statuses of the next requests, then 200. `holds`: while it is set, nothing is answered."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answers: list[int] = []
        self.holds = threading.Event()
        self.let_go = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/hook"

    def kinds(self) -> list[str]:
        return [post["kind"] for post in self.posts]

    def wait_for(self, posts: int) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.posts) >= posts)
        return self.posts

    @contextlib.contextmanager
    def serving(self) -> Iterator["WebTarget"]:
        serve = {"poll_interval": 0.02}
        thread = threading.Thread(target=self._server.serve_forever, kwargs=serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.let_go.set()
            self._server.shutdown()
            self._server.server_close()


def _handler(target: WebTarget) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if target.holds.is_set():
                target.let_go.wait(60)
            target.requests.append((self.path, dict(self.headers)))
            status = target.answers.pop(0) if target.answers else 200
            if status == 200:
                target.posts.append(json.loads(body))
            self.send_response(status)
            self.send_header("Location", f"http://{target.host}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


class MailTarget:
    """A mail server that takes everything. `certificate`: of STARTTLS, with its key; None offers
    none. `words`: what clients said, with `TLS` where encryption began."""

    def __init__(self, certificate: str | None = None) -> None:
        self.mails: list[EmailMessage] = []
        self.words: list[str] = []
        self.context = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _mail_handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    @contextlib.contextmanager
    def serving(self) -> Iterator["MailTarget"]:
        serve = {"poll_interval": 0.02}
        thread = threading.Thread(target=self._server.serve_forever, kwargs=serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


def _mail_handler(target: MailTarget) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self._open()
            self._say("220 here")
            while line := self._lines.readline().decode().strip():
                target.words.append(line)
                self._answer(line.split()[0].upper())

        def _open(self) -> None:
            self._lines: Any = self.request.makefile("rb")

        def _say(self, *lines: str) -> None:
            self.request.sendall("".join(f"{line}\r\n" for line in lines).encode())

        def _answer(self, verb: str) -> None:
            answers: dict[str, Callable[[], None]] = {
                "EHLO": self._greet,
                "STARTTLS": self._encrypt,
                "AUTH": lambda: self._say("235 welcome"),
                "DATA": self._take,
                "QUIT": lambda: self._say("221 bye"),
            }
            answers.get(verb, lambda: self._say("250 ok"))()

        def _greet(self) -> None:
            is_plain = not isinstance(self.request, ssl.SSLSocket)
            offers = ["250-STARTTLS"] if target.context is not None and is_plain else []
            self._say("250-here", *offers, "250 AUTH PLAIN")

        def _encrypt(self) -> None:
            self._say("220 go on")
            assert target.context is not None
            try:
                self.request = target.context.wrap_socket(self.request, server_side=True)
            except (ssl.SSLError, OSError):
                target.words.append("no TLS")
                self._lines = io.BytesIO()  # it says nothing more
                return
            target.words.append("TLS")
            self._open()

        def _take(self) -> None:
            self._say("354 go on")
            text = b""
            while (line := self._lines.readline()) not in (b".\r\n", b""):
                text += line
            target.mails.append(cast(EmailMessage, email.message_from_bytes(text, policy=default)))
            self._say("250 taken")

    return Handler
