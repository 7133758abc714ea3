"""A daemon takes work from every study, shares its processes, and leaves alone what fails."""

import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from daemon_bench import ServiceBench
from postgres_server import Postgres
from waiting import wait_until

from tuner.errors import UsageError
from tuner.manage.trust import trust_code
from tuner.reports.worker_tables import worker_rows
from tuner.service import daemon, daemon_health, late_deliveries
from tuner.service.daemon import DaemonStatus, Skipped
from tuner.service.daemon_health import HealthFile, HealthServer, is_alive, is_well
from tuner.service.daemon_start import WorkerWanted
from tuner.storage import Store, slots, study_control
from tuner.storage.daemon_rows import list_daemons, list_loops
from tuner.storage.deliveries import (
    Delivery,
    SearchedStudy,
    count_delivered,
    mark,
    searched_by_daemons,
)
from tuner.storage.identity import machine_run
from tuner.storage.schema import HEAD, VERSION_TABLE
from tuner.storage.studies import StudyRow, delete_study
from tuner.storage.trials import TrialRow
from tuner.study.study_state import StudyState
from tuner.tracking.process import Delivered

# What has nothing to do with the database is tested on one.
SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
# One trial after another, each of them long enough to be met while it runs.
LONG = {"epochs": 200, "patience": 200, "pace": 0.03}


def test_it_does_all_studies_also_one_that_comes_later(bench: ServiceBench) -> None:
    first, second = bench.add("first", 3), bench.add("second", 2)
    without_trials = bench.create(name="without trials")
    with bench.daemon():
        bench.wait_until_done(first, second)
        later = bench.add("later", 3)
        bench.wait_until_done(later)
        slots.ensure_slots(bench.store, first, 5)
        bench.wait_until_done(first)
    assert [len(bench.trials_of(study)) for study in (first, second, later)] == [5, 2, 3]
    assert {trial.state for trial in bench.trials_of(first)} == {"COMPLETE"}
    assert bench.trials_of(without_trials) == []
    assert not list_daemons(bench.store) and not list_loops(bench.store)


def test_two_daemons_do_each_trial_once(bench: ServiceBench) -> None:
    study = bench.add("shared", 12)
    with bench.daemon(processes=1), bench.daemon(processes=1):
        bench.wait_until_done(study)
    assert bench.ends(study) == [["complete"]] * 12


@SQLITE
def test_a_higher_priority_gets_the_processes_at_the_next_epoch(bench: ServiceBench) -> None:
    low = bench.add("low", 1, LONG)
    with bench.daemon(processes=1) as running:
        wait_until(lambda: running.daemon.status.running == 1)
        high = bench.create(name="high")
        study_control.set_priority(bench.store, high, 5)
        slots.ensure_slots(bench.store, high, 2)
        bench.wait_until_done(high)
        assert not bench.is_done(low)
        bench.wait_until_done(low)
    [trial] = bench.trials_of(low)
    assert [attempt.end for attempt in trial.attempts] == ["yielded", "complete"]
    assert trial.attempts[1].resumed_epoch == trial.attempts[0].epochs


@SQLITE
def test_equal_studies_share_the_processes(bench: ServiceBench) -> None:
    studies = [bench.add(name, 2, LONG) for name in ("one", "other")]
    with bench.daemon(processes=2):
        wait_until(lambda: all(bench.ends(study) == [[None]] for study in studies))
        # Both go on, and nothing more begins meanwhile.
        epochs = max(map(bench.epochs_done, studies)) + 10
        wait_until(lambda: all(bench.epochs_done(study) >= epochs for study in studies))
        assert [bench.ends(study) for study in studies] == [[[None]], [[None]]]


@SQLITE
def test_paused_and_stopped_studies_are_left_alone(bench: ServiceBench) -> None:
    paused, stopped = bench.add("paused", 1, LONG), bench.add("stopped", 1, LONG)
    with bench.daemon() as running:
        wait_until(lambda: running.daemon.status.running == 2)
        study_control.set_state(bench.store, paused, StudyState.PAUSED)
        study_control.set_state(bench.store, stopped, StudyState.STOPPED)
        wait_until(lambda: running.daemon.status.studies == ())
        assert running.daemon.status.state == "idle"
        assert running.skipped == {}
        study_control.set_state(bench.store, paused, StudyState.RUNNING)
        bench.wait_until_done(paused)
        assert not bench.is_done(stopped)
    [trial] = bench.trials_of(paused)
    assert trial.attempts[-1].end == "complete"
    assert trial.attempts[-1].resumed_epoch


@SQLITE
def test_a_study_that_fails_ends_no_other(
    bench: ServiceBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "_FIRST_PAUSE_S", 0.1)
    failing, fine = bench.add("failing", 5, {"act": "raise"}), bench.add("fine", 1)
    Path(bench.settings.trusted_code).unlink()
    with bench.daemon() as running:
        wait_until(lambda: set(running.skipped) == {"failing", "fine"})
        reason = running.skipped["fine"]
        [sha256] = re.findall(r"tuner worker --trust-code ([0-9a-f]{64})$", reason)
        monkeypatch.setattr(daemon, "_FIRST_PAUSE_S", 60.0)
        trust_code(bench.settings, [sha256])
        bench.wait_until_done(fine)
        wait_until(lambda: "three trials in a row failed" in running.skipped.get("failing", ""))
        wait_until(lambda: "fine" not in running.skipped)
        monkeypatch.setattr(daemon, "_RENEW_S", 0.0)
        wait_until(lambda: "failing" in list_daemons(bench.store)[0].skipped)
        study_control.set_state(bench.store, failing, StudyState.STOPPED)
        wait_until(lambda: not running.skipped)  # whoever stops it knows
    assert [trial.state for trial in bench.trials_of(failing)] == ["FAIL"] * 3


@SQLITE
def test_after_an_upgrade_by_a_newer_tuner_it_puts_trials_back_and_ends(
    bench: ServiceBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "_RENEW_S", 0.0)
    study = bench.add("mine", 1, {"epochs": 1000})

    def set_revision(revision: str) -> None:
        with bench.store.writing() as connection:
            connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))

    with bench.daemon() as running:
        wait_until(lambda: bench.epochs_done(study) > 1)
        set_revision("9999")
        wait_until(lambda: running.error is not None, timeout_s=20)
    set_revision(HEAD)
    assert "was upgraded by a newer version of tuner meanwhile" in str(running.error)
    assert [trial.state for trial in bench.trials_of(study)] == ["WAITING"]


@SQLITE
def test_a_study_that_is_stopped_is_no_longer_listed_as_skipped(bench: ServiceBench) -> None:
    """One that is resumed is tried at once: what was wrong may have been mended."""
    study = bench.add("failing", 50, {"act": "raise"})
    with bench.daemon() as running:
        wait_until(lambda: "failing" in running.skipped)
        study_control.set_state(bench.store, study, StudyState.PAUSED)
        wait_until(lambda: running.skipped == {})
        tried = len(bench.trials_of(study))
        study_control.set_state(bench.store, study, StudyState.RUNNING)
        wait_until(lambda: len(bench.trials_of(study)) > tried)
        wait_until(lambda: "failing" in running.skipped)
        delete_study(bench.store, study, even_while_searched=True)
        wait_until(lambda: running.skipped == {})


def test_studies_whose_trials_fail_are_tried_ever_more_rarely() -> None:
    search = SimpleNamespace(name="a", problem="no", ended_trials=0, has_failed_trials=True)
    skipped, pauses = None, []
    for _ in range(40):
        skipped = Skipped.after(search, skipped, 0.0)
        pauses.append(skipped.until)
    assert pauses[:3] == [5.0, 20.0, 80.0]
    assert pauses[-1] == 6 * 3600
    search.has_failed_trials = False
    assert Skipped.after(search, skipped, 0.0).until == 600


@SQLITE
def test_it_takes_the_studies_whose_names_match(bench: ServiceBench) -> None:
    cats, dogs = bench.add("vision-cats", 1), bench.add("dogs", 1)
    study_control.change_limits(bench.store, cats, {"of_a_later_version": 3})
    with bench.daemon(patterns=["vision-*"]):
        bench.wait_until_done(cats)
        [row] = worker_rows(bench.store)
    assert bench.trials_of(dogs) == []
    assert (row["kind"], row["takes"], row["processes"]) == ("worker", ["vision-*"], 2)


def resumed_epochs(trials: list[TrialRow]) -> list[int | None]:
    """Behind which epochs their last attempts go on."""
    return [trial.attempts[-1].resumed_epoch for trial in trials]


@SQLITE
@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_puts_all_trials_back(bench: ServiceBench, signals: int) -> None:
    pace = 0.1 if signals == 1 else 30.0  # one signal waits for the epoch, the next does not
    study = bench.add("long", 2, LONG | {"pace": pace})
    process = bench.start_daemon(processes=2)
    least = 1 if signals == 1 else 0
    wait_until(lambda: len(bench.trials_of(study)) == 2)
    wait_until(lambda: bench.epochs_done(study) >= 2 * least)
    process.terminate()
    if signals == 2:
        time.sleep(0.7)
        process.terminate()
    assert process.wait(20) == 0
    assert bench.ends(study) == [["interrupted"], ["interrupted"]]
    assert slots.slot_counts(bench.store, study) == {"open": 2}
    assert not list_daemons(bench.store) and not list_loops(bench.store)
    if signals == 1:
        put_back = [trial.attempts[0].epochs for trial in bench.trials_of(study)]
        assert min(epochs or 0 for epochs in put_back) >= 1
        with bench.daemon():
            wait_until(lambda: resumed_epochs(bench.trials_of(study)) == put_back)


@SQLITE
def test_a_killed_daemon_loses_nothing(bench: ServiceBench) -> None:
    studies = [bench.add(name, 2, LONG | {"epochs": 60, "pace": 0.1}) for name in ("a", "b")]
    killed = bench.start_daemon(processes=2)
    wait_until(lambda: all(bench.epochs_done(study) >= 45 for study in studies), timeout_s=60)
    killed.kill()
    killed.wait(10)
    with bench.daemon(processes=4):
        bench.wait_until_done(*studies)
    for study in studies:
        first = bench.trials_of(study)[0]
        assert [attempt.end for attempt in first.attempts] == ["lost", "complete"]
        assert first.attempts[1].resumed_epoch


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_database_that_restarts_is_waited_for(bench: ServiceBench, postgres: Postgres) -> None:
    study = bench.add("long", 1, LONG | {"epochs": 60})
    with bench.daemon() as running:
        wait_until(lambda: running.daemon.status.running == 1)
        postgres.go_down(signal.SIGINT)
        wait_until(lambda: running.daemon.status.state == "no database")
        postgres.come_back()
        bench.wait_until_done(study)
        wait_until(lambda: running.daemon.status.state != "no database")
    assert bench.ends(study) == [["complete"]]
    told = [line for line in running.lines if "database" in line]
    assert told[0].startswith("the database does not answer, waiting for it: ")
    assert told[1:] == ["the database answers again"]


def status(state: str = "idle", ticked_at: float | None = None) -> DaemonStatus:
    at = time.time() if ticked_at is None else ticked_at
    return DaemonStatus(state, 2, 0, (), {"a": "no data"}, at, at)


def test_health() -> None:
    assert is_well(status("working"), time.time())
    assert not is_well(status("draining"), time.time())
    assert not is_well(status("no database"), time.time())
    assert not is_well(status("idle", time.time() - 60), time.time())  # it hangs


def test_only_one_that_hangs_is_to_be_restarted() -> None:
    assert all(is_alive(status(state), time.time()) for state in ("idle", "no database"))
    assert is_alive(status("draining", time.time() - 60), time.time())
    assert not is_alive(status("idle", time.time() - 60), time.time())


def read(server: HealthServer, path: str, host: str | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(f"{server.address}{path}")
    if host is not None:
        request.add_header("Host", host)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_endpoint_says_how_the_daemon_is() -> None:
    states = ["idle"]
    server = HealthServer(0, lambda: status(states[0]), lambda: (b"up 1\n", "text/plain"))
    server.start()
    try:
        code, page = read(server, "/health")
        assert (code, json.loads(page)["skipped"]) == (200, {"a": "no data"})
        states[0] = "draining"
        assert read(server, "/health")[0] == 503
        assert read(server, "/alive")[0] == 200
        assert read(server, "/metrics") == (200, b"up 1\n")
        assert read(server, "/")[0] == 404
        assert read(server, "/health", host="evil.example:80")[0] == 403
        with pytest.raises(UsageError, match="--health-port"):
            HealthServer(int(server.address.rpartition(":")[2]), status)
    finally:
        server.close()


def test_other_machines_read_no_names_and_are_told_apart_from_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = HealthServer(0, status, lambda: (b"up 1\n", "text/plain"), host="0.0.0.0")
    server.start()
    try:
        assert json.loads(read(server, "/health")[1])["skipped"] == {"a": "no data"}
        assert read(server, "/health", host="10.1.2.3:9108")[0] == 200
        assert read(server, "/health", host="evil.example:9108")[0] == 403
        monkeypatch.setattr(daemon_health, "is_loopback", lambda address: False)
        assert json.loads(read(server, "/health")[1]) == {"healthy": True, "state": "idle"}
    finally:
        server.close()
    with pytest.raises(UsageError, match=r"--health-host 192\.0\.2\.1 with --health-port 0 cannot"):
        HealthServer(0, status, host="192.0.2.1")


def test_the_file_says_how_the_daemon_is(tmp_path: Path) -> None:
    file = HealthFile(tmp_path / "health.json", status)
    file.start()
    health = json.loads((tmp_path / "health.json").read_text())
    assert (health["healthy"], health["state"], health["processes"]) == (True, "idle", 2)
    file.close()
    assert list(tmp_path.iterdir()) == []
    stale = {"process": json.dumps({"machine": machine_run(), "pid": 1, "started": "another"})}
    (tmp_path / "health.json").write_text(json.dumps(stale))
    file = HealthFile(tmp_path / "health.json", status)
    file.start()  # of a worker that was killed
    file.close()
    with pytest.raises(UsageError, match="--health-file"):
        HealthFile(tmp_path / "missing" / "health.json", status).start()


def test_two_workers_do_not_write_one_file(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        started = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[19]
        process = json.dumps({"machine": machine_run(), "pid": other.pid, "started": started})
        (tmp_path / "health.json").write_text(json.dumps({"process": process}))
        with pytest.raises(UsageError, match="written by another worker of this machine"):
            HealthFile(tmp_path / "health.json", status).start()
        other.kill()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (WorkerWanted(processes=0), "--processes must be between 1 and 1000, got 0"),
        (WorkerWanted(health_port=70000), "--health-port must be between 0 and 65535"),
        (WorkerWanted(health_host="0.0.0.0"), "--health-host needs --health-port"),
        (WorkerWanted(trusted=("abc",)), "--trust-code must be a SHA-256 of 64 digits"),
        (WorkerWanted(patterns=("",)), "--studies must be a name or a pattern"),
    ],
)
def test_mistakes_are_refused(wanted: WorkerWanted, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        wanted.check()


class Looks:
    """How often daemons have looked for what MLflow lacks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(late_deliveries, "searched_by_daemons", self._look)

    def _look(self, store: Store) -> list[SearchedStudy]:
        self.count += 1
        return searched_by_daemons(store)

    def wait_for(self, more: int) -> None:
        awaited = self.count + more
        wait_until(lambda: self.count >= awaited)


def test_what_a_killed_daemon_has_not_sent_the_next_one_sends(
    bench: ServiceBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, done = bench.add("sent", 1), bench.add("done", 2)
    with bench.daemon():  # without MLflow, as one that is killed before it sends anything
        bench.wait_until_done(sent, done)
    for trial in bench.trials_of(sent):
        mark(bench.store, sent, trial.trial_id, Delivery("run", 1, 3, trial.state))
    begun: list[str] = []

    class Tracker:
        def __init__(self, study: StudyRow) -> None:
            self.study = study

        def finish(self, _timeout_s: float, _hurry: object) -> Delivered:
            for trial in bench.trials_of(self.study):
                mark(bench.store, self.study, trial.trial_id, Delivery("run", 1, 3, trial.state))
            return Delivered(sent=2, missing=0)

        def kill(self) -> None:
            begun.append(self.study.name)

    monkeypatch.setattr(daemon, "_LATE_EVERY_S", 0.05)
    monkeypatch.setattr(late_deliveries, "start_tracker", lambda _settings, study: Tracker(study))
    counted: list[str] = []

    def count(store: Store, study: StudyRow) -> tuple[int, int]:
        counted.append(study.name)
        return count_delivered(store, study)

    monkeypatch.setattr(late_deliveries, "count_delivered", count)
    looks = Looks(monkeypatch)
    bench.tracking_uri = "sqlite://"
    with bench.daemon() as running:
        wait_until(lambda: "done: sent to MLflow what was left: 2 trials" in running.lines)
        looks.wait_for(5)
    assert counted == ["sent", "done", "done"]  # once more after they were sent
    assert begun == ["done"]
    assert count_delivered(bench.store, done) == (2, 0)
