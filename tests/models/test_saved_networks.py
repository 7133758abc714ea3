"""Where a trial's network comes from. The training itself: test_trained_again."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from toy_study import ANY_X, Bench, any_of, toy_spec

from tuner.errors import StudyError
from tuner.models import trial_networks
from tuner.models.trial_networks import NetworkSource, _train_again, save_network
from tuner.runner.requests import SearchRequests, make_request, request_again
from tuner.runner.trial_writer import trial_seed
from tuner.search_space import load_space
from tuner.storage import open_store
from tuner.storage.attempt_rows import AttemptRow
from tuner.storage.schema import attempts
from tuner.storage.studies import load_study
from tuner.storage.trials import TrialRow, find_best
from tuner.study.messages import Ended, Tell
from tuner.study.spec import OwnMetricSpec

TRAINED = "a network that was trained again"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A study whose best trial has saved its network."""
    bench = Bench(tmp_path, open_store(f"sqlite:///{tmp_path}/tuner.db"))
    bench.create()
    bench.run(2)
    monkeypatch.setattr(trial_networks, "_train_again", _write)
    return bench


def _write(
    settings: object, store: object, study: object, trial: object, target: Path, data: str | None
) -> list[str]:
    assert data is None
    target.write_text(TRAINED)
    return ["another score"]


def best(bench: Bench) -> TrialRow:
    found = find_best(bench.store, load_study(bench.store)).trial
    assert found is not None
    return found


def save(bench: Bench, target: Path) -> trial_networks.WrittenNetwork:
    return save_network(bench.settings, bench.store, load_study(bench.store), best(bench), target)


def saved_file(bench: Bench) -> Path:
    last = best(bench).last
    assert last is not None and last.model_path is not None
    return bench.settings.checkpoints / last.model_path


def test_the_saved_file_is_copied(bench: Bench, tmp_path: Path) -> None:
    done = save(bench, tmp_path / "best.keras")
    assert (done.source, done.remarks) == (NetworkSource.SAVED, [])
    assert (tmp_path / "best.keras").read_bytes() == saved_file(bench).read_bytes()


@pytest.mark.parametrize("content", [b"", b"another network", b"0", None])
def test_a_changed_file_is_not_used(bench: Bench, tmp_path: Path, content: bytes | None) -> None:
    file = saved_file(bench)
    whole = file.read_bytes()
    # None: as long as before, with one bit turned over.
    file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:] if content is None else content)
    done = save(bench, tmp_path / "best.keras")
    assert done.source == NetworkSource.TRAINED
    assert done.remarks[0].startswith(f"{file} is not the file that was saved")
    assert done.remarks[0].endswith("; it is not used")
    assert (tmp_path / "best.keras").read_text() == TRAINED


def test_a_file_without_a_checksum_is_used(bench: Bench, tmp_path: Path) -> None:
    """Of a study that was made before checksums were recorded."""
    with bench.store.writing() as connection:
        connection.execute(sa.update(attempts).values(model_bytes=None, model_sha256=None))
    saved_file(bench).write_bytes(b"older")
    done = save(bench, tmp_path / "best.keras")
    assert (done.source, done.remarks) == (NetworkSource.SAVED, [])
    assert (tmp_path / "best.keras").read_bytes() == b"older"


def test_a_network_that_takes_float64_says_how_it_is_called(bench: Bench, tmp_path: Path) -> None:
    layer = {"class_name": "InputLayer", "config": {"batch_shape": [None, 2], "dtype": "float64"}}
    with bench.store.writing() as connection:
        connection.execute(sa.update(attempts).values(model_bytes=None, model_sha256=None))
    with zipfile.ZipFile(saved_file(bench), "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": [layer]}}))
    (remark,) = save(bench, tmp_path / "best.keras").remarks
    assert (
        "float64" in remark
        and "model.predict_on_batch(x)" in remark
        and "tuner gives it that" in remark
    )


def test_a_file_of_another_project_is_not_used(bench: Bench, tmp_path: Path) -> None:
    file = saved_file(bench)
    with bench.store.writing() as connection:
        connection.execute(sa.update(attempts).values(model_path=str(file)))
    done = save(bench, tmp_path / "best.keras")
    assert done.source == NetworkSource.TRAINED
    assert done.remarks[0] == f"'{file}' does not lie in this project; it is not used"


def test_a_missing_file_is_trained_again(bench: Bench, tmp_path: Path) -> None:
    saved_file(bench).unlink()
    done = save(bench, tmp_path / "best.keras")
    assert (done.source, done.remarks) == (NetworkSource.TRAINED, ["another score"])
    assert (tmp_path / "best.keras").read_text() == TRAINED


def test_what_fails_leaves_no_file(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(
        settings: object,
        store: object,
        study: object,
        trial: object,
        target: Path,
        data: str | None,
    ) -> list[str]:
        target.write_text("half")
        raise StudyError("diverged")

    saved_file(bench).unlink()
    monkeypatch.setattr(trial_networks, "_train_again", fails)
    (tmp_path / "best.keras").write_text("as before")
    with pytest.raises(StudyError, match="diverged"):
        save(bench, tmp_path / "best.keras")
    assert (tmp_path / "best.keras").read_text() == "as before"
    assert not list(tmp_path.glob(".tuner-*"))


def test_a_target_that_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "best.keras").mkdir()
    with pytest.raises(StudyError, match=r"best\.keras: cannot be written: "):
        save(bench, tmp_path / "best.keras")


def attempt(**values: Any) -> AttemptRow:
    names = AttemptRow.__dataclass_fields__
    return AttemptRow(**dict.fromkeys(names) | {"attempt": 1, "seconds": {}} | values)


def row(params: dict[str, Any], **last: Any) -> TrialRow:
    return TrialRow(3, 30, "COMPLETE", 0.9, params, [attempt(end="complete", **last)])


@pytest.mark.parametrize(
    ("recorded", "asked"),
    [
        ("graph", "auto"),
        ("tiered", "auto"),
        ("lanes", "auto"),
        ("keras", "keras"),
        ("keras, xla", "keras"),
        (None, "auto"),
    ],
)
def test_a_trial_is_repeated_by_the_program_that_trained_it(
    recorded: str | None, asked: str
) -> None:
    space = load_space("mlp")
    spec = toy_spec(code={}).model_copy(update={"space": space, "seed": 5})
    params = {"epochs": 3, "depth": 2}
    request = request_again(spec, row(params, engine=recorded, score=0.9))
    assert request == make_request(spec, 3, params, spec.choices(), asked)  # type: ignore[arg-type]
    assert (request.engine, request.seed, request.goal.target) == (asked, trial_seed(5, 3), None)
    assert request.choices == space.choices() != {}


def test_a_reached_target_ends_it_again() -> None:
    trial = TrialRow(0, 1, "COMPLETE", 0.8, {}, [attempt(end="target", score=0.8)])
    assert request_again(toy_spec(), trial).goal.target == 0.8


def test_a_search_s_requests_are_those_of_training_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every trial, whatever it varies; the checkpoints have no say in a plan."""
    given = []
    request_for = SearchRequests.request_for
    monkeypatch.setattr(
        SearchRequests,
        "request_for",
        lambda self, running: given.append(request_for(self, running)) or given[-1],
    )
    bench = Bench(tmp_path, open_store(f"sqlite:///{tmp_path}/tuner.db"))
    bench.create({"x": ANY_X, "act": any_of("learn", "flat")}, seed=3)
    bench.run(6)
    spec = load_study(bench.store).spec
    assert [request_again(spec, trial) for trial in bench.trials] == given


class NoisySession:
    """Writes to stderr what native code writes while it trains."""

    def run(self, request: object, tell: Tell) -> None:
        os.write(2, b"I0000 00:00:1 service.cc:146] XLA service initialized\n")
        tell(Ended("complete", 0.5, 1, 1, 10, {}, "xla"))

    def save(self, path: Path) -> None:
        path.write_text(TRAINED)


def test_training_again_prints_no_notes_of_native_code(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tuner.models.training_here._open_session", lambda *_: NoisySession())
    monkeypatch.setattr("tuner.runner.trained_on", lambda *_: None)
    monkeypatch.setattr("tuner.data.save_dataset", lambda *_: None)
    study, target = load_study(bench.store), bench.folder / "again.keras"
    _train_again(bench.settings, bench.store, study, best(bench), target, None)
    assert target.read_text() == TRAINED
    assert "I0000" not in capfd.readouterr().err


def test_a_trial_is_repeated_without_what_its_study_only_records() -> None:
    own = {"own": OwnMetricSpec(path="c.py", function="own", direction="minimize")}
    metrics = {"metric": "val_own", "direction": "minimize", "record": ("val_auc",)}
    spec = toy_spec(own_metrics=own, **metrics)
    params = spec.space.resolve({"x": 0.5})
    assert request_again(spec, row(params)).host_metrics == ("own",)
    assert make_request(spec, 3, params, {}).host_metrics == ("own", "auc")
