"""Logging: what is shown, what goes to a search's file, and that neither ends a search."""

import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.system import logs, secret_masking
from tuner.system.logs import last_line, log_into_file_on_stderr, log_to_file, log_to_stderr

log = logging.getLogger("tuner.a_room")


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    logger = logging.getLogger("tuner")
    before, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = before
    logger.setLevel(level)


def test_warnings_are_shown_without_passwords(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    log.info("a detail")
    log.warning("postgresql://me:hunter22@host/db does not %s", "answer")
    assert capsys.readouterr().err == "tuner: postgresql://***@host/db does not answer\n"


def test_verbose_shows_all_once(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    log_to_stderr(verbose=True)
    log.debug("a detail")
    log.error("a failure")
    assert capsys.readouterr().err == "tuner: a detail\ntuner: a failure\n"


def test_a_search_logs_to_its_file_while_it_lasts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study" / "search.log"
    log_to_stderr()
    log.info("before")
    with log_to_file(file):
        log.info("mysql://me:hunter22@host begins")
        log.debug("a detail")
        log.warning("it waits")
    log.warning("after")
    first, second = file.read_text().splitlines()
    assert re.fullmatch(r"\S+ \S+ INFO MainProcess tuner.a_room: mysql://\*\*\*@host begins", first)
    assert second.endswith("tuner.a_room: it waits")
    assert capsys.readouterr().err == "tuner: it waits\ntuner: after\n"


@pytest.mark.parametrize("file", ["/dev/full", "/dev/null/search.log", ""])
def test_a_log_that_cannot_be_written_is_passed_over(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with log_to_file(Path(file) if file else tmp_path):
        log.info("a search begins")
    assert capsys.readouterr() == ("", "")


def test_an_error_is_not_blamed_on_an_unwritable_log(tmp_path: Path) -> None:
    with pytest.raises(KeyError) as caught, log_to_file(tmp_path):
        raise KeyError("trial")
    assert caught.value.__context__ is None


def test_a_stderr_that_cannot_be_written_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    log_to_stderr()
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr("sys.stderr", full)
        log.warning("it waits")
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_the_last_line_says_why_a_process_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log_into_file_on_stderr()
    log.info("trial 3 begins")
    progress = capsys.readouterr().err
    log.warning("no checkpoint")
    warning = capsys.readouterr().err
    file = tmp_path / "search.log"
    file.write_text(f"MemoryError: too large\n{progress}\n")
    assert last_line(file) == "MemoryError: too large"
    assert last_line(file, start=23) == ""
    file.write_text(f"MemoryError: too large\n{warning}\n")
    assert last_line(file) == warning.strip()


def test_a_long_log_keeps_its_end(tmp_path: Path) -> None:
    file = tmp_path / "search.log"
    lines = [f"line {number:04}\n" for number in range(1000)]  # 10 bytes each
    file.write_text("".join(lines))
    with file.open("a") as other:
        logs.shorten_log(file, max_bytes=10_000)
        assert file.read_text() == "".join(lines)
        logs.shorten_log(file, max_bytes=8_000)
        other.write("of another process\n")
    assert file.read_text() == "".join([*lines[-199:], "of another process\n"])
    assert last_line(file, start=9_000) == "of another process"
    logs.shorten_log(tmp_path / "missing.log")


# As JSON


@pytest.fixture
def as_json() -> Iterator[None]:
    logs.set_log_format("json")
    yield
    logs.set_log_format("text")


@pytest.mark.usefixtures("as_json")
def test_a_record_is_an_object_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    secret_masking.remember_values(["4711007"])
    log_to_stderr()
    log.debug("a detail")
    with logs.logging_about(study="digits"), logs.logging_about(trial=4711007, worker=0):
        log.info("two\nlines of mysql://me:hunter22@host")
    try:
        raise ValueError("hunter22 in mysql://me:hunter22@host")
    except ValueError:
        log.exception("it failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "info",
        "logger": "tuner.a_room",
        "message": "two\nlines of mysql://***@host",
        "study": "digits",
        "trial": 4711007,  # a number is never masked: it would be no JSON
        "worker": 0,
    }
    assert (second["level"], "study" in second) == ("error", False)
    assert "mysql://***@host" in second["exception"]


@pytest.mark.usefixtures("as_json")
def test_what_a_search_knows_stays_in_its_thread(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    with logs.logging_about(study="digits"):
        other = threading.Thread(target=log.info, args=("of another thread",))
        other.start()
        other.join()
    assert "study" not in json.loads(capsys.readouterr().err)


@pytest.mark.usefixtures("as_json")
def test_the_last_words_of_a_json_log(tmp_path: Path) -> None:
    file = tmp_path / "search.log"
    with log_to_file(file):
        log.info("it goes on")
        assert last_line(file) == ""
        log.warning("it waits")
        log.info("it goes on")
    assert last_line(file) == "it waits"
    with file.open("a") as output:
        output.write("Killed\n")
    assert last_line(file) == "Killed"
