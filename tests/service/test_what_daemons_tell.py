"""What Prometheus reads of a daemon and of the page, and what a daemon announces."""

import re
from collections.abc import Callable

import pytest
from daemon_bench import ServiceBench
from notice_servers import WebTarget
from prometheus_client.parser import text_string_to_metric_families
from waiting import wait_until
from web_client import page_client

from tuner.errors import StorageError, TunerError
from tuner.runner import study_announcer
from tuner.service import prometheus_metrics
from tuner.service.prometheus_metrics import DaemonMetrics, PageMetrics
from tuner.storage import Store, leases, study_control
from tuner.storage.leases import LeaseKeeper
from tuner.study.study_state import StudyState

Samples = dict[str, float]
# Base units, and what only grows ends with _total.
_UNITS = ("_seconds", "_bytes", "_ratio")


def read(page: Callable[[], tuple[bytes, str]]) -> Samples:
    """The page as Prometheus' own parser reads it: name{label="value"} → value."""
    text, kind = page()
    assert kind.startswith("text/plain")
    samples: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.documentation and family.type in ("counter", "gauge")
        for sample in family.samples:
            assert re.fullmatch(r"(tuner|process)_[a-z_]+", sample.name)
            if sample.name.startswith("tuner_"):
                assert sample.name.endswith("_total") == (family.type == "counter")
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            samples[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return samples


@pytest.fixture(autouse=True)
def counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_metrics, "_COUNTED_FOR_S", 0.0)


def test_a_daemon_counts_what_it_does(bench: ServiceBench) -> None:
    metrics = DaemonMetrics(bench.store, tracking=True, processes=2)
    study = bench.add("good", 2, {"epochs": 3, "patience": 3})
    bad = bench.add("bad", 1, {"act": "nan", "at": 1})
    paused = bench.create(name="paused")
    study_control.set_state(bench.store, paused, StudyState.PAUSED)
    with bench.daemon(metrics=metrics):
        bench.wait_until_done(study, bad)
        wait_until(lambda: read(metrics.page)["tuner_running_trials"] == 0)
    found = read(metrics.page)
    assert found['tuner_trials_ended_total{end="complete"}'] == 2
    assert found['tuner_trials_ended_total{end="diverged"}'] == 1
    assert found["tuner_reports_total"] == 2 * 3 + 1
    assert 0 < found["tuner_loop_busy_seconds_total"] < 60
    assert found["tuner_worker_processes"] == 2
    assert found["tuner_deliveries_waiting"] == 3
    states = {state: found[f'tuner_studies{{state="{state}"}}'] for state in ("done", "paused")}
    assert states == {"done": 2, "paused": 1}
    assert found['tuner_studies{state="open"}'] == 0
    assert found['tuner_trial_slots{state="open"}'] == 0
    assert found["tuner_database_up"] == 1
    assert found["process_resident_memory_bytes"] > 1e6


def test_the_page_counts_studies_trials_and_answers(bench: ServiceBench) -> None:
    bench.add("s", 3)
    bench.run(2)
    study_control.set_state(bench.store, bench.add("paused", 5), StudyState.PAUSED)
    with page_client(bench.store) as client:
        assert client.get("/nothing").status_code == 404
        answer = client.get("/metrics")
        found = read(lambda: (answer.content, answer.headers["content-type"]))
    assert found['tuner_studies{state="open"}'] == 1
    assert found['tuner_trials{state="complete"}'] == 2
    slots = [found[f'tuner_trial_slots{{state="{state}"}}'] for state in ("open", "claimed")]
    assert slots == [1, 0]
    assert found['tuner_trials{state="running"}'] == 0
    assert found["tuner_workers"] == found["tuner_loops"] == 0
    assert found['tuner_http_requests_total{code="404"}'] == 1


def test_a_database_that_is_gone_is_a_metric_too() -> None:
    def gone() -> Store:
        raise StorageError("no connection")

    assert read(PageMetrics(gone).page)["tuner_database_up"] == 0
    assert read(PageMetrics(lambda: None).page)["tuner_database_up"] == 1


def test_renewals_that_fail_are_counted(
    bench: ServiceBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TunerError("no connection")

    monkeypatch.setattr(leases, "renew_unless", fail)
    metrics = DaemonMetrics(bench.store, tracking=False, processes=1)
    before = read(metrics.page)["tuner_lease_renewals_failed_total"]
    with LeaseKeeper(bench.store, leases.open_lease(bench.store, bench.create(), 0.04)):
        name = "tuner_lease_renewals_failed_total"
        wait_until(lambda: read(metrics.page)[name] >= before + 2)
    assert "tuner_deliveries_waiting" not in read(metrics.page)


def test_a_daemon_announces_ends_and_what_it_leaves_alone(
    bench: ServiceBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same failure once, however often it is tried again."""
    monkeypatch.setattr("tuner.service.daemon._FIRST_PAUSE_S", 0.1)
    with WebTarget().serving() as target, study_announcer(bench.store, [target.url]) as announcer:
        bench.add("fails", 12, {"act": "raise", "at": 1})
        good, astray = bench.add("good", 2), bench.add("astray", 2)
        study_control.set_state(bench.store, astray, StudyState.PAUSED)
        with bench.daemon(announcer=announcer) as running:
            bench.wait_until_done(good)
            wait_until(lambda: running.lines_on("fails: skipped") >= 2)
            (bench.folder / "points.npz").unlink()
            study_control.set_state(bench.store, astray, StudyState.RUNNING)
            wait_until(lambda: "astray" in {post["study"] for post in target.posts})
    texts = [post["text"] for post in target.posts if post["kind"] != "best"]
    failures = [text for text in texts if "ValueError" in text]
    assert [text.partition(": trial")[0] for text in failures] == [
        "study fails: stopped: three trials in a row failed"
    ]
    assert next(text for text in texts if "good" in text).startswith("study good: done; 2 of 2")
    left_alone = [text for text in texts if "astray" in text]
    assert len(left_alone) == 1
    assert left_alone[0].startswith("study astray: skipped by the worker on ")
    assert "points.npz" in left_alone[0]
