"""MLflow elsewhere, through the page: what passes in both directions, and what does not."""

import base64
import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from waiting import wait_until

from tuner.settings import MlflowLogin, load_settings
from tuner.system.secret_masking import without_secrets
from tuner.web import proxy
from tuner.web.application import make_application
from tuner.web.security.accounts import Accounts, Role
from tuner.web.tool_servers import RemoteServer
from tuner.web.web_setup import WebSetup

PASSWORD = "s3cret/of-mlflow"
SEARCH = "/mlflow/ajax-api/2.0/mlflow/runs/search"


@dataclass
class Seen:
    """What the server elsewhere was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Elsewhere:
    """MLflow's server under the path /base. `go_on`: lets the second half of an answer pass."""

    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    got_half: threading.Event = field(default_factory=threading.Event)

    @property
    def last(self) -> Seen:
        return self.seen[-1]


def make_handler(elsewhere: Elsewhere) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self) -> None:
            if self.path.endswith("update"):
                return self.take_slowly()
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            elsewhere.seen.append(Seen(self.command, self.path, headers, body))
            page = self.path.rpartition("/")[2].partition("?")[0]
            getattr(self, f"do_page_{page}".replace(".", "_"), self.do_page_)()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        def reply(self, body: bytes, kind: str, status: int = 200, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_page_(self) -> None:
            login = {"WWW_Authenticate": "Basic", "Access_Control_Allow_Origin": "*"}
            self.reply(b"<p>MLflow", "text/html", Set_Cookie="of=mlflow", **login)

        def do_page_report_html(self) -> None:
            self.reply(b"<script>steal()</script>", "text/html; charset=utf-8")

        def do_page_evil_js(self) -> None:
            self.reply(b"steal()", "text/javascript")

        def do_page_packed(self) -> None:
            self.reply(gzip.compress(b"x" * 9999), "application/json", Content_Encoding="gzip")

        def do_page_login(self) -> None:
            self.reply(b"who?", "text/plain", 401, WWW_Authenticate='Basic realm="mlflow"')

        def do_page_moved(self) -> None:
            address = f"http://127.0.0.1:{elsewhere.port}/base/there?a=%2F#x"
            self.reply(b"", "text/plain", 302, Location=address)

        def do_page_away(self) -> None:
            self.reply(b"", "text/plain", 302, Location="https://evil.example/base/")

        def do_page_slow(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "8")
            self.end_headers()
            self.wfile.write(b"half")
            elsewhere.go_on.wait(30)
            self.wfile.write(b"full")

        def take_slowly(self) -> None:
            half = self.rfile.read(4)
            elsewhere.got_half.set()
            rest = self.rfile.read(int(self.headers["Content-Length"]) - 4)
            self.reply(half + rest, "application/octet-stream")

    return Handler


@contextlib.contextmanager
def page_served(folder: Path, tracking_uri: str, **setup: Any) -> Iterator[str]:
    """The page on a port of loopback; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    settings = load_settings(f"sqlite:///{folder}/tuner.db", tracking_uri)
    app = make_application(WebSetup(settings, port=port, **setup))
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    made = Elsewhere()
    with ThreadingHTTPServer(("127.0.0.1", 0), make_handler(made)) as server:
        made.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        made.go_on.set()
        server.shutdown()


@pytest.fixture(scope="module")
def address(elsewhere: Elsewhere, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    accounts = Accounts(folder / "users.json")
    accounts.put("ada", "a long password", Role.OPERATOR)
    accounts.put("rea", "another password", Role.READER)
    uri = f"http://team:{PASSWORD.replace('/', '%2F')}@127.0.0.1:{elsewhere.port}/base"
    with page_served(folder, uri, accounts=accounts) as served:
        yield served


@contextlib.contextmanager
def logged_in(address: str, name: str, password: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, headers={"origin": address}) as client:
        reply = client.post("/login", data={"name": name, "password": password})
        assert reply.status_code == 303
        yield client


@pytest.fixture(scope="module")
def operator(address: str) -> Iterator[httpx.Client]:
    with logged_in(address, "ada", "a long password") as client:
        yield client


@pytest.fixture(scope="module")
def reader(address: str) -> Iterator[httpx.Client]:
    with logged_in(address, "rea", "another password") as client:
        yield client


def test_without_a_login_nothing_passes(address: str, elsewhere: Elsewhere) -> None:
    before = len(elsewhere.seen)
    for path in ("/mlflow/", SEARCH, "/dashboard", "/api/studies", "/static/bundle.js", "/csv/1"):
        assert httpx.get(address + path).status_code in (401, 405)
    forged = {"cookie": "tuner-session=x", "authorization": "Basic YTpi"}
    assert httpx.get(f"{address}/mlflow/", headers=forged).status_code == 401
    assert len(elsewhere.seen) == before


def test_the_page_logs_in_for_its_users(reader: httpx.Client, elsewhere: Elsewhere) -> None:
    own = {"authorization": "Bearer mine", "referer": "http://x/", "x-forwarded-for": "1.2.3.4"}
    reply = reader.get("/mlflow/artifacts?path=a%2Fb&x=1", headers=own)
    assert (reply.status_code, reply.text) == (200, "<p>MLflow")
    seen = elsewhere.last
    assert (seen.method, seen.path) == ("GET", "/base/artifacts?path=a%2Fb&x=1")
    login = base64.b64encode(f"team:{PASSWORD}".encode()).decode()
    assert seen.headers.pop("authorization") == f"Basic {login}"
    assert seen.headers.pop("host") == f"127.0.0.1:{elsewhere.port}"
    passed = {"accept", "accept-encoding", "accept-language", "user-agent", "connection"}
    assert seen.headers.keys() <= passed
    for name in ("www-authenticate", "set-cookie", "access-control-allow-origin", "server"):
        assert "mlflow" not in reply.headers.get(name, "").lower()
    assert PASSWORD not in str(reply.headers) + reply.text


def test_a_path_passes_as_it_was_written(reader: httpx.Client, elsewhere: Elsewhere) -> None:
    reader.get("/mlflow/get-artifact/a%2Fb%20c%25d")
    assert elsewhere.last.path == "/base/get-artifact/a%2Fb%20c%25d"
    before = len(elsewhere.seen)
    raw = f"{reader.base_url}/mlflow/x/%2e%2e/ajax-api/2.0/mlflow/users/list"
    assert reader.get(raw).status_code == 400
    assert len(elsewhere.seen) == before


def test_an_encoded_prefix_is_no_way_round_the_rules(
    operator: httpx.Client, elsewhere: Elsewhere
) -> None:
    before = len(elsewhere.seen)
    for path in ("/%6dlflow/ajax-api/2.0/mlflow/runs/delete", "/mlflow%2Fruns"):
        assert operator.get(path).status_code == 400
    assert len(elsewhere.seen) == before


def test_what_only_reads_passes_without_a_body(reader: httpx.Client, elsewhere: Elsewhere) -> None:
    mutation = b'{"query": "mutation { x }"}'
    headers = {"content-type": "application/json", "accept-language": "é".encode("latin-1")}
    for path in ("/mlflow/graphql", SEARCH):
        reply = reader.request("GET", path, content=mutation, headers=headers)  # type: ignore[arg-type]
        assert reply.status_code == 200
        assert elsewhere.last.body == b""
        assert not {"content-length", "content-type"} & elsewhere.last.headers.keys()


def test_a_reader_searches_and_changes_nothing(reader: httpx.Client, elsewhere: Elsewhere) -> None:
    assert reader.post(SEARCH, json={"max_results": 1}).status_code == 200
    assert elsewhere.last.body == b'{"max_results":1}'
    before = len(elsewhere.seen)
    for method, path in (
        ("POST", "runs/delete"),
        ("POST", "runs/set-tag"),
        ("DELETE", "registered-models/delete"),
        ("PATCH", "model-versions/update"),
        ("POST", "an/unknown/call"),
    ):
        reply = reader.request(method, f"/mlflow/ajax-api/2.0/mlflow/{path}", json={})
        assert reply.status_code == 403
        assert "\n" not in reply.json()["message"]
    assert reader.put("/api/studies/1/note", json={}).status_code == 403
    assert reader.delete("/api/studies/1").status_code == 403
    assert reader.request("OPTIONS", SEARCH).status_code == 405
    assert len(elsewhere.seen) == before


def test_other_sites_change_nothing(operator: httpx.Client, elsewhere: Elsewhere) -> None:
    deletion = "/mlflow/ajax-api/2.0/mlflow/runs/delete"
    before = len(elsewhere.seen)
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        assert operator.post(deletion, json={}, headers={"origin": origin}).status_code == 403
    assert operator.post(deletion, json={}, headers={"host": "evil.example"}).status_code == 403
    assert len(elsewhere.seen) == before
    assert operator.post(deletion, json={"run_id": "1"}).status_code == 200
    assert "origin" not in elsewhere.last.headers


def test_files_of_users_run_nothing(reader: httpx.Client) -> None:
    reply = reader.get("/mlflow/get-artifact/report.html")
    assert reply.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert reply.headers["x-content-type-options"] == "nosniff"
    script = reader.get("/mlflow/get-artifact/evil.js")
    assert script.headers["content-type"].startswith("text/plain")
    app = reader.get("/mlflow/").headers["content-security-policy"]
    assert "script-src 'self'" in app and "unsafe-inline" not in app.partition("style-src")[0]


def test_what_is_packed_stays_packed(reader: httpx.Client) -> None:
    reply = reader.get("/mlflow/packed")
    assert reply.text == "x" * 9999
    assert reply.headers["content-encoding"] == "gzip"
    assert int(reply.headers["content-length"]) < 100


def test_only_redirects_to_the_same_server_are_followed(reader: httpx.Client) -> None:
    assert reader.get("/mlflow/moved").headers["location"] == "/mlflow/there?a=%2F#x"
    reply = reader.get("/mlflow/away")
    assert reply.status_code == 502
    assert "another server" in reply.json()["message"]
    assert "location" not in reply.headers


@pytest.mark.parametrize("tool", [proxy.MLFLOW, proxy.DASHBOARD])
@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example", "\\\\evil.example"])
def test_no_redirect_leads_away(tool: proxy.Tool, path: str) -> None:
    server = RemoteServer(httpx.URL("http://localhost"), MlflowLogin())
    for location in (path, f"http://localhost{path}"):
        led_to = proxy.own_location(tool, server, location)
        assert led_to is None or not led_to.startswith(("//", "/\\", "\\"))


def test_a_login_that_mlflow_refuses(reader: httpx.Client) -> None:
    reply = reader.get("/mlflow/login", headers={"accept": "text/html"})
    assert reply.status_code == 502  # a browser would ask its user for a password
    assert "www-authenticate" not in reply.headers
    assert "MLFLOW_TRACKING_USERNAME" in reply.text


def test_answers_pass_in_pieces(reader: httpx.Client, elsewhere: Elsewhere) -> None:
    with reader.stream("GET", "/mlflow/slow") as reply:
        pieces = reply.iter_raw()
        assert next(pieces) == b"half"
        elsewhere.go_on.set()
        assert b"".join(pieces) == b"full"


def test_requests_pass_in_pieces(operator: httpx.Client, elsewhere: Elsewhere) -> None:
    def body() -> Iterator[bytes]:
        yield b"half"
        assert elsewhere.got_half.wait(30)
        yield b"full"

    reply = operator.post(
        "/mlflow/ajax-api/2.0/mlflow/runs/update",
        content=body(),
        headers={"content-length": "8", "content-type": "application/json"},
    )
    assert reply.content == b"halffull"


def test_mlflow_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        uri = f"http://me:{PASSWORD}@127.0.0.1:{nobody.getsockname()[1]}"
        with page_served(tmp_path, uri) as address:
            reply = httpx.get(f"{address}/mlflow/", headers={"accept": "text/html"})
    assert reply.status_code == 503
    assert "MLflow at http://127.0.0.1:" in reply.text and "does not answer" in reply.text
    assert PASSWORD not in reply.text
    assert without_secrets(PASSWORD) == "***"


def test_mlflow_that_has_no_runs_yet(tmp_path: Path) -> None:
    store = tmp_path / "mlruns" / "mlflow.db"
    with page_served(tmp_path, f"sqlite:///{store}") as address:
        reply = httpx.get(f"{address}/mlflow/", headers={"accept": "text/html"})
        asked = httpx.post(address + SEARCH, json={}, headers={"origin": address})
        no_study = httpx.get(f"{address}/dashboard", headers={"accept": "text/html"})
    assert (reply.status_code, asked.status_code) == (202, 503)
    assert "MLflow has no runs yet" in reply.text
    assert "no study yet; create one with: tuner study create" in no_study.text
    assert json.loads(asked.text)["message"].startswith("MLflow has no runs yet")
    assert list(tmp_path.iterdir()) == []
