"""Announcements reach who is to be told, in the form that is read there, and hold up nobody."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from notice_servers import MailTarget, WebTarget
from waiting import wait_until

from tuner.errors import NoticeError, UsageError
from tuner.notices import Announcement, Announcer, NoticeKind, announcer, check_addresses
from tuner.notices.receivers import FORMATS, TIMEOUT_S, make_receiver
from tuner.notices.telling import CLOSE_S, Later
from tuner.system import secret_masking

SECRET = "Zq9pa55"


@pytest.fixture
def target() -> Iterator[WebTarget]:
    with WebTarget().serving() as serving:
        yield serving


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.notices.telling._FIRST_PAUSE_S", 0.01)


def best(trial: int = 3, study: str = "s", uuid: str = "a") -> Announcement:
    return Announcement(NoticeKind.BEST, study, uuid, "", trial, 0.75, "val_accuracy", 4, 10)


def done(study: str = "s") -> Announcement:
    return Announcement(NoticeKind.DONE, study, "a", "done", 3, 0.75, "val_accuracy", 10, 10)


def failing(what: str) -> Announcement:
    return Announcement(NoticeKind.FAILING, "s", "a", what)


def test_programs_are_told_the_facts(target: WebTarget) -> None:
    with announcer([target.url]) as telling:
        telling.tell(best())
        telling.tell(failing("stopped: the data are gone"))
    first, second = target.posts
    assert first["text"] == ("study s: new best val_accuracy 0.7500 (trial 3); 4 of 10 trials done")
    facts = {name: first[name] for name in ("kind", "study", "trial", "score", "done", "total")}
    assert list(facts.values()) == ["best", "s", 3, 0.75, 4, 10]
    assert first["time"].endswith("+00:00")
    assert (second["kind"], second["score"]) == ("failing", None)
    assert second["text"] == "study s: stopped: the data are gone"


def test_no_proxy_hears_what_this_machine_tells_itself(
    target: WebTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    with announcer([target.url]) as telling:
        telling.tell(done())
    assert target.kinds() == ["done"]


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_still_json(score: float, target: WebTarget) -> None:
    with announcer([target.url]) as telling:
        telling.tell(Announcement(NoticeKind.BEST, "s", "a", "", 1, score, "loss", 1, 2))
    assert target.posts[0]["score"] is None


def test_services_read_their_own_form() -> None:
    everyone = done("@everyone <!channel> & x")
    slack, discord = FORMATS["slack"].body(everyone), FORMATS["discord"].body(everyone)
    assert list(slack) == ["text"]
    assert "&lt;!channel&gt; &amp; x" in slack["text"]
    assert discord["content"].startswith("study @everyone")
    assert discord["allowed_mentions"] == {"parse": []}
    long = FORMATS["discord"].body(failing("x" * 5000))
    assert len(long["content"]) <= 2000


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", "slack"),
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("slack+https://chat.example.com/hooks/x", "slack"),
        ("discord+http://localhost/x", "discord"),
        ("plain+https://hooks.slack.com/x", "plain"),
        ("https://example.com/x", "plain"),
        ("https://hooks.slack.com.evil.example/x", "plain"),
    ],
)
def test_the_form_follows_the_address(url: str, form: str) -> None:
    receiver = make_receiver(url)
    assert receiver._body is FORMATS[form].body  # type: ignore[attr-defined]
    assert receiver._url == url.removeprefix(f"{form}+")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hooks", "no URL"),
        (f"https:///{SECRET}", "no host"),
        (f"ftp://h/{SECRET}", "scheme ftp"),
        (f"teams+https://h/{SECRET}", r"scheme teams\+https"),
        (f"http://h:port/{SECRET}", "no URL"),
        (f"http://[1/{SECRET}", "no URL"),
        (f"smtp://u:{SECRET}@h", "who is written to"),
        (f"smtps://u:{SECRET}@h/?to=nobody", "addresses such as"),
        ("@missing", "No such file"),
    ],
)
def test_a_wrong_address_is_named_without_its_secret(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as raised:
        check_addresses([text])
    assert SECRET not in str(raised.value)


def test_addresses_are_read_from_a_file(tmp_path: Path, target: WebTarget) -> None:
    (tmp_path / "urls").write_text(f"# who is told\n\n{target.url}\n  {target.url}/2\n")
    with announcer([f"@{tmp_path}/urls"]) as telling:
        telling.tell(done())
    assert sorted(path for path, _ in target.requests) == ["/hook", "/hook/2"]


def test_what_fails_for_a_while_is_sent_again(
    target: WebTarget, caplog: pytest.LogCaptureFixture
) -> None:
    target.answers = [503, 429, 500]
    with announcer([target.url]) as telling:
        telling.tell(done())
        target.wait_for(1)
    assert len(target.requests) == 4
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
        "a notification cannot reach 127.0.0.1: it answered 503"
    ]


@pytest.mark.parametrize("status", [302, 307, 404])
def test_a_refusal_is_told_once_and_no_redirect_is_followed(
    status: int, target: WebTarget, caplog: pytest.LogCaptureFixture
) -> None:
    target.answers = [status] * 2
    with announcer([f"http://u:{SECRET}@{target.host}/{SECRET}"]) as telling:
        telling.tell(failing("one"))
        wait_until(lambda: len(target.requests) == 1)
        telling.tell(failing("two"))
        wait_until(lambda: len(target.requests) == 2)
    assert {path for path, _ in target.requests} == {f"/{SECRET}"}
    complaints = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert [f"answered {status}" in r.getMessage() for r in complaints] == [True]
    assert SECRET not in caplog.text


def test_the_address_is_in_no_log_of_any_library(
    target: WebTarget, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"http://me:{SECRET}1@{target.host}/services/T0/{SECRET}2?key={SECRET}3"
    with announcer([url]) as telling:
        telling.tell(done())
    assert target.requests[0][0] == f"/services/T0/{SECRET}2?key={SECRET}3"
    assert "Authorization" in target.requests[0][1]
    assert "httpx" in {record.name for record in caplog.records}
    assert SECRET not in caplog.text
    assert SECRET not in secret_masking.without_secrets(f"{url} and {SECRET}2")


def test_a_password_in_an_error_is_not_sent(target: WebTarget) -> None:
    secret_masking.remember(f"postgresql://me:{SECRET}@host/db")
    with announcer([target.url]) as telling:
        telling.tell(failing(f"postgresql://me:{SECRET}@host/db: {SECRET} is wrong"))
    assert SECRET not in json.dumps(target.posts)


def test_one_that_does_not_answer_holds_up_neither_the_search_nor_others(
    target: WebTarget, caplog: pytest.LogCaptureFixture
) -> None:
    with WebTarget().serving() as silent:
        silent.holds.set()
        telling = Announcer([make_receiver(silent.url), make_receiver(target.url)])
        telling.start()
        begun = time.monotonic()
        for number in range(40):
            telling.tell(failing(f"failure {number}"))
        assert time.monotonic() - begun < TIMEOUT_S
        target.wait_for(40)
        begun = time.monotonic()
        telling.close(0.3)
        assert 0.3 <= time.monotonic() - begun < TIMEOUT_S
    assert "a notification did not reach 127.0.0.1 in time" in caplog.text


def test_the_end_waits_for_no_pause(target: WebTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.notices.telling._FIRST_PAUSE_S", 60.0)
    target.answers = [503]
    with announcer([target.url]) as telling:
        telling.tell(done())
        wait_until(lambda: len(target.requests) == 1)
        begun = time.monotonic()
    assert time.monotonic() - begun < CLOSE_S
    assert target.kinds() == ["done"]


def test_of_new_bests_the_last_one_is_told(target: WebTarget) -> None:
    """The first at once, the others once the time has come: what waits is replaced."""
    has_come = threading.Event()
    asked: list[int | None] = []

    def turns(announcement: Announcement) -> Announcement | Later:
        asked.append(announcement.trial)
        is_due = announcement.trial == 0 or has_come.is_set()
        return announcement if is_due else Later(0.02)

    with announcer([target.url], turns) as telling:
        telling.tell(best(0))
        target.wait_for(1)
        for trial in range(1, 20):
            telling.tell(best(trial))
        wait_until(lambda: asked[-1] == 19)
        has_come.set()
        target.wait_for(2)
    assert [post["trial"] for post in target.posts] == [0, 19]


def test_the_end_says_the_best_too(target: WebTarget) -> None:
    """What waits for its turn is not told after it."""
    with announcer([target.url], lambda each: Later(60) if each.what == "" else each) as telling:
        telling.tell(best())
        telling.tell(done())
        target.wait_for(1)
    assert target.kinds() == ["done"]
    assert target.posts[0]["text"] == (
        "study s: done; 10 of 10 trials done; best val_accuracy 0.7500 (trial 3)"
    )


def test_nobody_to_tell_costs_no_thread() -> None:
    with announcer([]) as telling:
        telling.tell(done())
        assert telling.is_silent
        assert not telling._thread.is_alive()


# Mail


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, signed by itself, with its key in the same file."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "here")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    day, today = timedelta(days=1), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - day)
        .not_valid_after(today + day)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = tmp_path_factory.mktemp("certificate") / "here.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def test_a_mail_is_encrypted_before_the_password(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with MailTarget(str(certificate)).serving() as target:
        url = f"smtp://me%40host:{SECRET}@127.0.0.1:{target.port}/?to=you@host,she@host"
        with announcer([url]) as telling:
            telling.tell(replace(failing("three trials\nin a row failed"), trial=0))
            wait_until(lambda: bool(target.mails))
    mail = target.mails[0]
    assert mail["Subject"] == "tuner: study s: three trials in a row failed"
    assert (mail["From"], mail["To"]) == ("me@host", "you@host, she@host")
    assert {"kind: failing", "trial: 0"} <= set(mail.get_content().splitlines())
    verbs = [word.split()[0].upper() for word in target.words]
    assert verbs.index("TLS") < verbs.index("AUTH")


def test_a_certificate_that_nobody_signed_is_refused(certificate: Path) -> None:
    with MailTarget(str(certificate)).serving() as target:
        receiver = make_receiver(f"smtp://me:{SECRET}@127.0.0.1:{target.port}/?to=you@host")
        with pytest.raises(NoticeError, match="certificate is not valid"):
            receiver.send(done())
    assert "AUTH" not in "".join(target.words)


def test_a_password_crosses_no_network_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.notices.mail.is_loopback", lambda host: False)
    with MailTarget().serving() as target:
        receiver = make_receiver(f"smtp://me:{SECRET}@127.0.0.1:{target.port}/?to=you@host")
        with pytest.raises(NoticeError, match="STARTTLS"):
            receiver.send(done())
    assert not any(word.startswith("AUTH") for word in target.words)
