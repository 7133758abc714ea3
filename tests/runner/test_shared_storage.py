"""Searches whose networks and checkpoints are in a store that all machines reach."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from s3_server import S3Server, s3
from toy_study import S3_URL, Bench
from waiting import wait_until

from tuner.errors import ArtifactsUnavailable, StudyError
from tuner.manage.cleaning import Project, find_leftovers
from tuner.manage.deletion import remove_study
from tuner.runner import RunStatus, Silent
from tuner.storage import Store
from tuner.study.artifacts import open_artifacts

__all__ = ["s3"]
SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
EACH_EPOCH = {"checkpoint_every_s": 0.0, "lease_s": 2.0}


@pytest.fixture
def bench(
    s3: S3Server, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    monkeypatch.setenv(S3_URL, s3.url(f"project-{tmp_path.name}"))
    with s3.machine(tmp_path / "home"):
        yield Bench(tmp_path, store)


def stored(bench: Bench, pattern: str) -> list[str]:
    return [file.name for file in open_artifacts(bench.settings).files(pattern)]


@SQLITE
def test_a_killed_search_goes_on_on_another_machine(
    bench: Bench, s3: S3Server, tmp_path: Path
) -> None:
    study = bench.create({"pace": 0.3, "epochs": 6})
    loop = bench.start(3, workers=2, asked=EACH_EPOCH)
    wait_until(lambda: len(stored(bench, "*/trial-*/*.ckpt")) == 2)
    loop.send_signal(signal.SIGKILL)
    loop.wait()
    (tmp_path / "machine").mkdir()
    other = Bench(tmp_path / "machine", bench.store)
    with s3.machine(tmp_path / "machine"):
        other.run(3, workers=2, asked=EACH_EPOCH)
        trials = other.trials
        assert [trial.state for trial in trials] == ["COMPLETE"] * 3
        went_on = [trial.attempts for trial in trials if len(trial.attempts) > 1]
        assert len(went_on) == 2
        for first, second in went_on:
            assert first.end == "lost"
            assert second.resumed_epoch
        assert stored(other, "**/*.ckpt") == []
        best = max(trials, key=lambda trial: trial.value or 0.0)
        assert best.last is not None
        assert best.last.model is not None
        assert open_artifacts(other.settings).get(best.last.model).is_file()
        assert not list((tmp_path / "machine" / "checkpoints").glob("*/trial-*"))
        assert find_leftovers(Project(other.settings, other.store), [study], is_whole=False) == []
        remove_study(other.settings, other.store, study, keep_runs=True)
        assert stored(other, "**/*") == []
        assert not list((tmp_path / "machine" / "checkpoints").iterdir())


class StoreStops(Silent):
    """Takes the store away while trials run, and brings it back when the first one is done."""

    def __init__(self, s3: S3Server) -> None:
        self._s3, self.was_away = s3, False

    def changed(self, status: RunStatus) -> None:
        if not self.was_away and any(worker.epoch >= 2 for worker in status.workers):
            self._s3.stop()
            self.was_away = True
            self._s3.start_later(1.0)


@SQLITE
def test_trials_go_on_while_the_store_is_away(bench: Bench, s3: S3Server) -> None:
    bench.create({"pace": 0.1, "epochs": 4})
    watcher = StoreStops(s3)
    bench.run(3, workers=2, asked=EACH_EPOCH, watcher=watcher)
    s3.settle()
    assert watcher.was_away
    assert [len(trial.attempts) for trial in bench.trials] == [1, 1, 1]
    networks = [trial.last.model for trial in bench.trials if trial.last]
    assert all(open_artifacts(bench.settings).get(model) for model in networks if model)
    assert len([model for model in networks if model]) == 3


@SQLITE
def test_a_study_is_not_deleted_while_the_store_is_away(bench: Bench) -> None:
    study = bench.create()
    settings = replace(bench.settings, artifacts_url="s3://no-such-bucket/project")
    with pytest.raises(ArtifactsUnavailable, match=r"no such bucket; nothing was deleted; .*keep-"):
        remove_study(settings, bench.store, study, keep_runs=True)
    assert bench.trials == []  # the study is there
    remove_study(settings, bench.store, study, keep_runs=True, keep_networks=True)
    with pytest.raises(StudyError):
        assert bench.trials


@SQLITE
def test_a_store_that_refuses_is_said_before_the_first_trial(bench: Bench) -> None:
    bench.create()
    bench.settings = replace(bench.settings, artifacts_url="s3://no-such-bucket/project")
    with pytest.raises(ArtifactsUnavailable, match=r"^s3://no-such-bucket: there is no such"):
        bench.run(1)
    assert bench.trials == []
