"""However a command ends, everything is in `tuner.db` itself, and that file alone is a database."""

import io
import os
import re
import shutil
import signal
import sqlite3
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer
from fork_server import Forked, run_command, start
from toy_study import toy_spec

from tuner.cli.commands import app
from tuner.storage import fold_all, open_store
from tuner.storage.studies import create_study

# How each command is called here: as it ends well, or as well as it can without training.
CALLS: dict[str, list[list[str]]] = {
    "study create": [
        ["--data", "iris"],
        ["s", "--data", "digits"],
        ["--data", "nowhere.csv:x"],
        ["--data", "iris", "--portfolio", "--prior"],
        ["--data", "iris", "--learn-from", "unknown"],
    ],
    "study list": [[], ["--json"]],
    "study show": [[], ["unknown"]],
    "study best": [[], ["--save", "x.keras"]],
    "study export": [[], ["--format", "json"]],
    "study code": [[], ["unknown"]],
    "study import": [["results.csv", "--into", "s"], ["results.csv", "--into", "unknown"]],
    "study repair": [[], ["unknown"]],
    "study stop": [[], ["unknown"]],
    "study pause": [[], ["unknown"]],
    "study resume": [[], ["unknown"]],
    "study set": [[], ["s", "--trials", "3"], ["unknown", "--priority", "1"]],
    "study watch": [["unknown"]],
    "study plot": [["history"], ["unknown"]],
    "study delete": [["gone", "--yes"], ["unknown", "--yes"], ["s"]],
    "optimize": [
        [],
        ["unknown", "--trials", "1"],
        ["--trials", "1", "--workers", "0"],
        ["--trials", "1", "--until-sure", "0"],
    ],
    "worker": [["--processes", "0"]],
    "worker list": [[], ["--json"]],
    "compare": [[], ["--study", "unknown"], ["--study", "s"]],
    "predict": [["s", "iris"], ["unknown", "iris"]],
    "evaluate": [["s", "iris"], ["unknown", "iris"]],
    "export": [["s", "--format", "keras", "--output", "x.keras"]],
    "promote": [["s"], ["unknown"]],
    "trial list": [[], ["--best-first"]],
    "trial show": [["0"], ["99"]],
    "trial add": [["width=64"], ["unknown=1"], ["width=a"]],
    "trial retry": [["0"], ["99"]],
    "trial stop": [["0"], ["99"]],
    "trial plot": [["0"], ["99"]],
    "sync": [[], ["--check"]],
    "space list": [[]],
    "space show": [["mlp"], ["unknown"]],
    "space parameters": [["--json"]],
    "space schema": [[]],
    "data describe": [["iris"], ["unknown"]],
    "db backup": [["copy/backup.db"], ["tuner.db"]],
    "db upgrade": [[]],
    "db moved": [[]],
    "db copied": [[]],
    "gc": [["--dry-run"]],
    "activations": [["--help"]],
    "metrics": [[], ["--json"]],
    "ui": [["--port", "99999"]],
    "ui adduser": [["ada"]],
    "ui removeuser": [["ada"]],
    "doctor": [["--quick"]],
}


def commands(group: Any, *path: str) -> list[str]:
    """The words of all commands there are."""
    if not hasattr(group, "commands"):
        return [" ".join(path)]
    # The name of such a group alone is a command too.
    own = [" ".join(path)] if path and group.invoke_without_command else []
    return own + [
        leaf for name, each in group.commands.items() for leaf in commands(each, *path, str(name))
    ]


def rows_of(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return list(connection.iterdump())


def assert_whole(path: Path, study: str = "s") -> None:
    """Nothing lies beside the file, and a copy of it has the study."""
    sides = [each.name for each in path.parent.glob(f"{path.name}-*")]
    assert [name for name in sides if not name.endswith("-tracker")] == []
    assert any(
        'INSERT INTO "tuner_studies"' in row and f"'{study}'" in row for row in rows_of(path)
    )


@pytest.fixture
def database(tmp_path: Path, made_tables: Path) -> Path:
    shutil.copy(made_tables, tmp_path)
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    create_study(store, "gone", toy_spec())
    create_study(store, "s", toy_spec())
    store.close()
    (tmp_path / "copy").mkdir()
    return tmp_path / "tuner.db"


def test_every_command_is_tried_here() -> None:
    assert set(commands(typer.main.get_command(app))) == set(CALLS)


@pytest.mark.parametrize(
    "words",
    [[*command.split(), *call] for command, calls in CALLS.items() for call in calls],
    ids=" ".join,
)
def test_after_every_command(
    words: list[str], database: Path, tuner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    tuner(*words)
    assert_whole(database)


WAITS = """
import sys, time
from tuner.cli import app
from tuner.cli.database_access import open_study
from tuner.storage.trials import enqueue

@app.app.command("wait")
def wait(context: app.typer.Context) -> None:
    store, row = open_study(context, "s")
    enqueue(store, row, {"x": 0.123456})
    with store.reading():
        print("waiting", flush=True)
        time.sleep(60)

from tuner.cli import main
sys.argv[1:] = ["wait"]
main()
"""


def waiting(folder: Path) -> Forked:
    """A command that has written something, and has not ended. Its messages are in `errors`."""
    environment = {key: value for key, value in os.environ.items() if "TUNER" not in key}
    reading, writing = os.pipe()
    with Path(os.devnull).open() as nothing, (folder / "errors").open("w") as errors:
        streams = (nothing.fileno(), writing, errors.fileno())
        process = start(WAITS, [], folder, streams, environment)
    os.close(writing)
    with os.fdopen(reading) as printed:
        assert printed.readline() == "waiting\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_after_a_signal(number: signal.Signals, database: Path) -> None:
    process = waiting(database.parent)
    assert database.with_name("tuner.db-wal").stat().st_size > 0
    process.send_signal(number)
    assert process.wait(20) == 130
    assert "Traceback" not in (database.parent / "errors").read_text()
    assert_whole(database)
    assert any("0.123456" in row for row in rows_of(database))


def test_the_next_command_after_a_kill(database: Path, tuner: Any) -> None:
    process = waiting(database.parent)
    process.kill()
    process.wait(20)
    assert database.with_name("tuner.db-wal").stat().st_size > 0
    # Who only looks sees it all, and leaves it to others.
    assert "0.123456" in tuner("trial", "list", "s", "--json").out
    assert database.with_name("tuner.db-wal").stat().st_size > 0
    before = [each.read_bytes() for each in (database, database.with_name("tuner.db-wal"))]
    assert "a row was written and rolled back" in tuner("doctor", "--quick").out
    assert before == [each.read_bytes() for each in (database, database.with_name("tuner.db-wal"))]
    assert tuner("study", "repair", "s").code == 0
    assert_whole(database)
    assert any("0.123456" in row for row in rows_of(database))


def test_beside_a_command_that_goes_on(database: Path, tuner: Any) -> None:
    process = waiting(database.parent)
    try:
        assert tuner("trial", "add", "x=0.654321", "--study", "s").code == 0
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert_whole(database)
    for value in ("0.123456", "0.654321"):
        assert any(value in row for row in rows_of(database))


def test_after_a_broken_pipe(database: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = ["trial", "add", "x=0.5", "--study", "s"]
    done = run_command(words, database.parent, stdout=writer)
    os.close(writer)
    assert done.stderr == ""
    assert_whole(database)


ENDS_AT_ONCE = """
import os, sys, threading
from tuner.storage import fold_all, open_store
from tuner.storage.studies import load_study
from tuner.storage.trials import enqueue
store = open_store(sys.argv[1])
enqueue(store, load_study(store, "s"), {"x": 0.123456})
held = store.reader.connect()
held.exec_driver_sql("SELECT 1 FROM studies")
held.commit()
def write():
    enqueue(store, load_study(store, "s"), {"x": 0.654321})
thread = threading.Thread(target=write)
thread.start()
thread.join()
if len(sys.argv) > 2:
    fold_all()
    os._exit(9)
"""


@pytest.mark.parametrize("cut_off", [["at once"], []], ids=["cut off", "in order"])
def test_with_connections_of_other_threads(cut_off: list[str], database: Path) -> None:
    with Path(os.devnull).open("w") as nothing:
        words = [f"sqlite:///{database}", *cut_off]
        process = start(ENDS_AT_ONCE, words, database.parent, [nothing.fileno()] * 3)
    assert process.wait(60) == (9 if cut_off else 0)
    wal = database.with_name("tuner.db-wal")
    assert not wal.exists() or wal.stat().st_size == 0
    for value in ("0.123456", "0.654321"):
        assert any(value in row for row in rows_of(database))


def test_a_cut_off_waits_for_nobody(database: Path) -> None:
    url = f"sqlite:///{database}"
    store = open_store(url)
    create_study(store, "t", toy_spec())
    with store.writing() as connection:
        connection.exec_driver_sql("DELETE FROM tuner_places")
        began = time.monotonic()
        fold_all()
        assert time.monotonic() - began < 5
    store.close()
    assert_whole(database, "t")


def test_a_database_that_was_moved_away_is_not_made_again(database: Path) -> None:
    store = open_store(f"sqlite:///{database}")
    create_study(store, "t", toy_spec())
    database.rename(database.with_name("elsewhere.db"))
    store.close()
    assert not database.exists()


def test_after_the_page_was_served(database: Path) -> None:
    reading, writing = os.pipe()
    with Path(os.devnull).open() as nothing:
        words = ["ui", "--port", "0"]
        code = f"import sys; sys.argv[1:] = {words!r}\nfrom tuner.cli import main; main()"
        streams = (nothing.fileno(), writing, writing)
        process = start(code, [], database.parent, streams)
    os.close(writing)
    with os.fdopen(reading) as printed:
        address = re.search(r"http://\S+", printed.readline())
        assert address is not None
        with urllib.request.urlopen(address[0]) as answer:
            assert b">s<" in answer.read()
        assert list(database.parent.glob("tuner.db-*")) != []
        process.send_signal(signal.SIGINT)
        assert printed.read().endswith("stopped\n")
    assert process.wait(20) == 0
    assert_whole(database)
