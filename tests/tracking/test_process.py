"""The tracker as a process: it delivers beside the loop, and nothing waits for it."""

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fork_server import start
from sqlalchemy.engine import make_url
from tracking_helpers import Search, make_settings, make_spec

from tuner.storage import Store, deliveries
from tuner.storage.deliveries import Turn
from tuner.storage.studies import create_study, delete_study
from tuner.system.locations import sqlite_url
from tuner.tracking import start_tracker
from tuner.tracking.client import Client, open_client
from tuner.tracking.process import current_experiment_name
from tuner.tracking.study_delivery import StudyDelivery

HOLD_THE_TURN = """
import sys, time
from tuner.storage import open_store
from tuner.storage.studies import create_study, delete_study
from tuner.storage.deliveries import Turn
turn = Turn(open_store(sys.argv[1]), int(sys.argv[2]))
assert turn.mine()
print("mine", flush=True)
time.sleep(60)
"""


def test_a_tracker_delivers_all_and_ends(
    search: Search, tracking_uri: str, runs: Any, tmp_path: Path
) -> None:
    finished, running = search.start(), search.start()
    search.train(finished, epochs=2)
    search.complete(finished, score=0.9)
    search.train(running, epochs=1)
    tracker = start_tracker(make_settings(search, tracking_uri), search.study)
    late = search.start()
    search.prune(late, score=0.3)
    delivered = tracker.finish(60)
    assert (delivered.sent, delivered.missing, delivered.problem) == (2, 0, None)
    assert delivered.link is None  # `tuner ui` knows the address
    assert not tracker.alive
    assert set(runs()) == {search.study.name, "trial 0", "trial 1", "trial 2"}


def test_a_dead_server_is_reported_in_one_line(search: Search, tmp_path: Path) -> None:
    search.complete(search.start(), 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://user:secret@127.0.0.1:{free.getsockname()[1]}"
        tracker = start_tracker(make_settings(search, uri), search.study)
        assert "secret" not in str(tracker.process.args)
        delivered = tracker.finish(60)
    assert (delivered.sent, delivered.missing) == (0, 1)
    assert delivered.problem is not None
    assert delivered.problem.startswith("MLflow at http://***@127.0.0.1:")
    assert "does not answer" in delivered.problem
    assert "\n" not in delivered.problem


def test_finish_does_not_wait_longer_than_it_is_told(search: Search) -> None:
    search.complete(search.start(), 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        tracker = start_tracker(make_settings(search, uri), search.study)
        began = time.monotonic()
        delivered = tracker.finish(0.5)
        assert time.monotonic() - began < 5
    assert (delivered.missing, delivered.problem) == (1, "MLflow took longer than 0 s")


def test_another_study_of_the_name_is_not_delivered(search: Search, tmp_path: Path) -> None:
    """The first one is deleted while its tracker still starts."""
    store, first = search.store, search.study
    delete_study(store, first, even_while_searched=True)
    again = Search(store, create_study(store, first.name, make_spec()))
    again.complete(again.start(), 0.5)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    delivered = start_tracker(make_settings(search, uri), first).finish(60)
    assert (delivered.sent, delivered.missing) == (0, 0)
    assert delivered.problem is not None
    assert "was deleted" in delivered.problem
    assert deliveries.count_delivered(store, again.study) == (0, 1)


def test_a_killed_tracker_is_no_trouble(search: Search, tracking_uri: str) -> None:
    tracker = start_tracker(make_settings(search, tracking_uri), search.study)
    tracker.kill()
    tracker.kill()
    assert not tracker.alive


def test_a_study_is_delivered_by_one_process_at_a_time(store: Store) -> None:
    study_id = 7
    arguments = [store.url.render_as_string(hide_password=False), str(study_id)]
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_TURN, *arguments], stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"mine\n"
    turn = Turn(store, study_id)
    assert not turn.mine()
    another = Turn(store, study_id + 1)
    assert another.mine()
    other.kill()  # its turn ends with it
    other.wait()
    other.stdout.close()
    deadline = time.monotonic() + 10  # a database server takes a moment to notice
    while not turn.mine():
        assert time.monotonic() < deadline
    turn.give_back()
    another.give_back()


def test_a_link_to_the_database_gives_no_second_turn(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "tuner.db")
    direct, linked = (
        Turn(Store(make_url(sqlite_url(tmp_path / name))), 7)
        for name in ("real/tuner.db", "link.db")
    )
    assert linked.mine()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["tuner.db-tracker"]
    linked.give_back()
    assert direct.mine()
    direct.give_back()


def test_starting_a_tracker_imports_no_mlflow() -> None:
    code = "import sys, tuner.tracking; print('mlflow' in sys.modules, 'tensorflow' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.split() == ["False", "False"]


def test_mlflow_loses_nothing_that_is_to_be_delivered(search: Search, client: Client) -> None:
    assert deliveries.count_delivered(search.store, search.study) == (0, 0)
    search.complete(search.start(), 0.5)
    search.start()
    assert deliveries.count_delivered(search.store, search.study) == (0, 1)


def test_a_new_store_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    database = tmp_path / "mlruns" / "mlflow.db"
    code = f"from tuner.tracking.client import open_client; open_client('sqlite:///{database}')"
    with Path(os.devnull).open("r+") as nothing:
        for pause in (0.2, 0.6, 1.2, 60.0):  # killed here and there while it makes its tables
            maker = start(code, [], tmp_path, [nothing.fileno()] * 3)
            with contextlib.suppress(subprocess.TimeoutExpired):
                maker.wait(pause)
            maker.kill()
            maker.wait()
    client = open_client(f"sqlite:///{database}")
    assert client.get_experiment("0").artifact_location == str(database.parent / "0")
    assert client.get_experiment(client.create_experiment("mine")).name == "mine"
    client.get_run(client.create_run("0").info.run_id)


def test_an_experiments_name_is_read_without_a_trace(
    search: Search, client: Client, tracking_uri: str, tmp_path: Path
) -> None:
    search.complete(search.start(), 0.5)
    StudyDelivery(search.store, client, search.study).deliver(last=True)
    experiment = client.get_experiment_by_name(search.study.experiment)
    client.rename_experiment(experiment.experiment_id, f"{search.study.name} renamed")
    folder = tmp_path / "100% a?b#c"
    folder.mkdir()
    copy = folder / "mlflow.db"
    with (
        contextlib.closing(sqlite3.connect(tracking_uri.removeprefix("sqlite:///"))) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
        target.execute("PRAGMA journal_mode=WAL")
    before = [(path, path.read_bytes()) for path in sorted(folder.iterdir())]
    assert [path.name for path, _ in before] == ["mlflow.db"]
    name = current_experiment_name(sqlite_url(copy), search.study, search.store)
    assert name == f"{search.study.name} renamed"
    assert [(path, path.read_bytes()) for path in sorted(folder.iterdir())] == before
