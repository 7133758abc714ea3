"""`tuner ui` as a command: what it refuses, and a server that speaks TLS and asks for a login."""

import datetime
import http.client
import io
import ipaddress
import os
import re
import signal
import socket
import ssl
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Command
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fork_server import Forked, start
from prometheus_client.parser import text_string_to_metric_families
from web_client import page_client

from tuner.web import serving
from tuner.web.security import accounts as accounts_module

TOKEN = "0123456789abcdef-token"
SERVES = "import sys\nfrom tuner.cli import main\nsys.argv[0] = 'tuner'\nmain()"


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "_COST", {"n": 16, "r": 8, "p": 1})


@pytest.fixture(autouse=True)
def never_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is not refused ends at once."""
    monkeypatch.setattr(serving._Server, "run", lambda *_, **__: None)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that it has signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--port", "70000"], "--port must be from 0 to 65535, got 70000"),
        (
            ["--host", "no.such.invalid"],
            "--host no.such.invalid lets other machines in, and needs a login",
        ),
        (["--host", "0.0.0.0"], r"needs a login: set TUNER_UI_TOKEN, .* tuner ui adduser"),
        (["--allow-host", "a.example"], "--allow-host a.example lets another program in"),
        (["--allow-host", "a/b", "--token", TOKEN], "--allow-host takes a name such as"),
        (["--token", "short"], "the token of --token must have from 16 to 256 characters"),
        (["--token", "@missing"], "--token @missing: the file cannot be read: No such file"),
        (["--users", "missing.json"], "missing.json has no users; add one: tuner ui adduser"),
        (["--certificate", "x"], "must be given together"),
        (["--certificate", "x", "--certificate-key", "y"], "--certificate x cannot be read"),
        (["--host", "203.0.113.7", "--token", TOKEN], "--host 203.0.113.7 is no address of this"),
    ],
)
def test_what_is_refused(words: list[str], complaint: str, tuner: Command) -> None:
    done = tuner("ui", *words)
    assert done.code == 2
    assert re.search(complaint, done.err), done.err
    assert done.err.count("\n") == 1


def test_a_port_that_is_taken(tuner: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = tuner("ui", "--port", str(port))
    assert (done.code, done.err) == (
        2,
        f"tuner: port {port} is in use; to take any free one: tuner ui --port 0\n",
    )


def test_files_that_are_no_certificate(tuner: Command, tmp_path: Path) -> None:
    file, key = certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, wrong_key = certificate(other)
    for pair in ((key, file), (file, wrong_key), (file, file)):
        done = tuner("ui", "--certificate", str(pair[0]), "--certificate-key", str(pair[1]))
        assert done.code == 2
        assert "are no certificate and its key" in done.err


def test_passwords_without_tls_are_warned_of(
    tuner: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_UI_TOKEN", TOKEN)
    done = tuner("ui", "--host", "0.0.0.0", "--port", "0")
    assert "cross the network unencrypted: give --certificate" in done.err
    monkeypatch.setenv("TUNER_UI_TOKEN", TOKEN)
    file, key = certificate(tmp_path)
    words = ("--certificate", str(file), "--certificate-key", str(key))
    assert "unencrypted" not in tuner("ui", "--host", "0.0.0.0", "--port", "0", *words).err


def test_users_are_added_and_removed(
    tuner: Command, typed: Callable[[str], None], tmp_path: Path
) -> None:
    typed("a good password\n")
    assert "added user ada, operator, in" in tuner("ui", "adduser", "ada", "--role", "operator").out
    typed("short\n")
    done = tuner("ui", "adduser", "bob")
    assert (done.code, "a password has from 8" in done.err) == (2, True)
    assert "no name for a user" in tuner("ui", "adduser", "a b").err
    typed("another good one\n")
    assert "changed user ada, reader" in tuner("ui", "adduser", "ada").out
    assert "removed user ada" in tuner("ui", "removeuser", "ada").out
    assert "has no user 'ada'; it has: nobody" in tuner("ui", "removeuser", "ada").err


def test_health_needs_no_login(tmp_path: Path) -> None:
    with page_client(f"sqlite:///{tmp_path}/none.db", token=TOKEN) as client:
        assert client.get("/health").json() == {"database": "ok"}
        assert client.get("/health", headers={"host": "evil.example"}).status_code == 403
    refused = "postgresql+psycopg://me:hidden77@127.0.0.1:1/db"
    with page_client(refused, token=TOKEN) as client:
        answer = client.get("/health")
        assert (answer.status_code, answer.json()) == (503, {"database": "unreachable"})


def test_metrics_need_a_login_or_the_token(tmp_path: Path) -> None:
    with page_client(f"sqlite:///{tmp_path}/none.db", token=TOKEN) as client:
        plain = {"accept": "text/plain"}
        assert client.get("/metrics", headers=plain).status_code == 401
        answer = client.get("/metrics", headers=plain | {"authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        families = {each.name: each for each in text_string_to_metric_families(answer.text)}
    samples = families["tuner_http_requests"].samples
    assert {sample.labels["code"] for sample in samples} == {"401"}
    assert families["tuner_database_up"].samples[0].value == 1


def served(folder: Path, *words: object) -> tuple[Forked, Any]:
    """`tuner ui` in a process of its own, and what it prints."""
    reading, writing = os.pipe()
    with Path(os.devnull).open() as nothing:
        streams = (nothing.fileno(), writing, writing)
        process = start(SERVES, ["ui", "--port", "0", *map(str, words)], folder, streams)
    os.close(writing)
    return process, os.fdopen(reading)


def test_a_server_with_tls_and_a_token(tmp_path: Path) -> None:
    file, key = certificate(tmp_path)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    process, printed = served(
        tmp_path, "--certificate", file, "--certificate-key", key, "--token", "@token"
    )
    try:
        lines = [printed.readline() for _ in range(3)]
        address = re.fullmatch(r"the page: https://127\.0\.0\.1:(\d+)/\n", lines[0])
        assert address is not None, lines
        trusted = ssl.create_default_context(cafile=str(file))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", int(address[1]), context=trusted, timeout=20
        )
        connection.request("GET", "/", headers={"Accept": "text/html"})
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.headers["location"]) == (303, "/login?next=/")
        assert answer.headers["server"] is None
        connection.request(
            "POST",
            "/login",
            urllib.parse.urlencode({"password": TOKEN}),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        answer = connection.getresponse()
        answer.read()
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-tuner-session-") and "Secure" in cookie
        connection.request("GET", "/", headers={"Cookie": cookie.partition(";")[0]})
        answer = connection.getresponse()
        assert answer.status == 200
        assert b"No study yet" in answer.read()
        connection.close()
    finally:
        process.send_signal(signal.SIGTERM)
        rest = printed.read()
        printed.close()
    assert process.wait(20) == 0
    assert "Ctrl-C stops it" in "".join(lines) and rest.endswith("stopped\n")
    assert TOKEN not in "".join(lines) + rest
