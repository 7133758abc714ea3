"""Passwords are masked, in whatever form and by whatever road they would be printed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.settings import load_settings
from tuner.system import secret_masking
from tuner.system.secret_masking import remember, remember_values, without_secrets

# No part of the rest of a message, so that finding it means that it was printed.
passwords = st.text(min_size=6, max_size=20).map(lambda text: f"Zq{text}Zq")
unquoted = st.text(
    st.characters(exclude_characters="/?#@", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]),
    min_size=4,
    max_size=20,
).map(lambda text: f"Zq{text}Zq")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    known = secret_masking._known.copy()
    secret_masking._known.clear()
    yield
    secret_masking._known.clear()
    secret_masking._known.update(known)


def encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@given(passwords.filter(encodable))
def test_a_password_of_a_url_is_masked_in_every_form(password: str) -> None:
    secret_masking._known.clear()
    remember(f"postgresql+psycopg://me:{quote(password, safe='')}@host/db")
    for written in (password, quote(password, safe=""), quote_plus(password)):
        assert written not in without_secrets(f"no entry for {written!s} here")
    for written in (repr(password), json.dumps(password)):
        assert written[1:-1] not in without_secrets(f"got {written}")


@given(unquoted)
def test_a_url_that_nobody_announced_is_masked(password: str) -> None:
    secret_masking._known.clear()
    for url in (
        f"http://me:{quote(password, safe='')}@host:5000/api",
        f"postgresql://me:p@rt{quote(password, safe='')}@host/db",
        f"https://{quote(password, safe='')}@host/api",
        f"postgresql:///db?user=me&password={quote(password, safe='')}&host=/tmp",
        f"https://host/api?access_token={quote(password, safe='')}",
    ):
        assert "Zq" not in without_secrets(f"error at {url}: refused"), url


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("connect host=h password=Zq1 user=me", "connect host=h password=*** user=me"),
        ("password='Zq 1' dbname=d", "password='***' dbname=d"),
        ("{'user': 'me', 'password': 'Zq1'}", "{'user': 'me', 'password': '***'}"),
        ('{"api_key": "Zq1"}', '{"api_key": "***"}'),
        ('{"db_password":"Zq\\"1"}', '{"db_password":"***"}'),
        ("dbPassword=Zq1, accessToken='Zq 1')", "dbPassword=***, accessToken='***')"),
        ("PGPASSWORD=Zq1 AWS_SECRET_ACCESS_KEY=Zq2", "PGPASSWORD=*** AWS_SECRET_ACCESS_KEY=***"),
        ("--token=Zq1 password='Zq1", "--token=*** password=***"),
        ("password=None.Zq", "password=***"),
        ("https://h/a?X-Amz-Signature=Zq1&sig=Zq,2", "https://h/a?X-Amz-Signature=***&sig=***"),
        ("?sslpassword=Zq1&x=2", "?sslpassword=***&x=2"),
    ],
)
def test_other_ways_to_write_a_password(text: str, masked: str) -> None:
    assert without_secrets(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me@work/tuner.db is not there",
        "sqlite:///tuner.db",
        "unexpected token: x",
        "http://127.0.0.1:5000/#/experiments/1",
        "mail me@example.org, see https://example.org/a",
        "max_tokens=512, input_signature=(1, 2), password_file=/a, tokenizer=b",
        "config.max_tokens=512 secretary=me signature=(x,) https://h/?max_tokens=512&config=a",
        '{"signature": "x", "tokens": "y", "password_file": "z", "passwordless": "w"}',
        "PWD=/home/me password=None, token=null",
        "accuracy 0.9731, tuner study list",
    ],
)
def test_what_is_no_password_stays(text: str) -> None:
    remember("sqlite:////home/me@work/tuner.db", "postgresql://tuner:tuner@localhost/tuner")
    assert without_secrets(text) == text


def test_a_password_with_a_slash_or_an_at_sign_is_known_whole() -> None:
    remember("http://me:one/two@three@host:1/path?token=four4")
    told = without_secrets("one/two@three, and four4, at /path of host")
    assert told == "***, and ***, at /path of host"


def test_settings_announce_the_environments_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_STORAGE", "postgresql://me:ZqStorage@host/db")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "ZqLogin")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://me:ZqRegistry@host")
    monkeypatch.setenv("https_proxy", "http://me:ZqProxy@host")
    load_settings(tracking_uri="http://me:ZqOption@host")
    assert "Zq" not in without_secrets("ZqStorage ZqLogin ZqRegistry ZqProxy ZqOption")


CHAINED = """
import logging, sys, threading
from tuner.system.secret_masking import mask_stderr, remember_values
remember_values(["ZqSecret"])
mask_stderr()
def fail():
    try:
        raise ValueError("ZqSecret in a cause")
    except ValueError as error:
        error.add_note("ZqSecret in a note")
        raise RuntimeError("http://me:ZqOther@host") from error
thread = threading.Thread(target=fail)
thread.start()
thread.join()
logging.warning("ZqSecret in a log")
print("ZqSecret", "printed", file=sys.stderr)
fail()
"""


def test_tracebacks_and_logs_of_a_process_are_masked() -> None:
    done = subprocess.run([sys.executable, "-c", CHAINED], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Zq" not in done.stderr
    for words in ("*** in a cause", "*** in a note", "*** in a log", "*** printed", "://***@host"):
        assert words in done.stderr
    assert done.stderr.count("RuntimeError") == 2


PLAIN = st.from_regex(r"[a-z]{4,15}|[A-Z][a-z]{3,14}|[0-9]{4,7}", fullmatch=True)


@given(PLAIN)
def test_a_password_that_is_a_word_is_masked_only_where_a_password_stands(word: str) -> None:
    secret_masking._known.clear()
    remember(f"postgresql+psycopg://me:{word}@host/db")
    prose = f"the {word} of 3 {word}s ({word}): '{word}' {word}@home /{word}/{word}.db x={word}"
    assert without_secrets(prose) == prose
    data = json.dumps({word: [word, {"study": word}]})
    assert without_secrets(data) == data
    shown = without_secrets(
        f"postgresql+psycopg://me:{word}@host/db and me:{word}@host; password: {word}; "
        f"'password': '{word}', PASSWORD = {word} ?user=me&password={word}"
    )
    assert shown == (
        "postgresql+psycopg://***@host/db and me:***@host; password: ***; "
        "'password': '***', PASSWORD = *** ?user=me&password=***"
    )


@given(st.dictionaries(st.text(), st.text()), st.sampled_from(["password", "token", "a.secret"]))
def test_masked_json_stays_json(other: dict[str, str], name: str) -> None:
    secret_masking._known.clear()
    data = json.dumps({"first": 1, name: 'Zq"1', "last": [2]} | {f"-{key}-": 3 for key in other})
    told = without_secrets(data)
    assert "Zq" not in told
    assert json.loads(told)[name] == "***"


def test_short_words_are_left_alone() -> None:
    remember_values(["ab", "postgres", ""])
    assert without_secrets("postgres has about 3") == "postgres has about 3"


RESULTS = """
import json, sys
from tuner.system.secret_masking import mask_output, remember_values, unmasked
remember_values(["lack1ng"])
mask_output()
print("lack1ng")
print(json.dumps({"lack1ng": 1}), file=unmasked(sys.stdout))
print(json.dumps({"lack1ng": 1}), file=unmasked(sys.stderr))
"""


def test_results_for_programs_pass_the_mask() -> None:
    done = subprocess.run([sys.executable, "-c", RESULTS], capture_output=True, text=True)
    assert done.stdout == '***\n{"lack1ng": 1}\n'
    assert done.stderr == '{"lack1ng": 1}\n'
