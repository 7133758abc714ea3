"""Metrics that the host computes from predictions, in every engine."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from sklearn.metrics import f1_score
from tensorflow_helpers import make_dataset, make_request, on_disk, train, weights

from tuner.errors import MetricError
from tuner.networks import export_network
from tuner.study.artifacts import FolderArtifacts
from tuner.study.messages import (
    Checkpoints,
    Ended,
    FunctionCode,
    Goal,
    Report,
    Resumed,
    TrialRequest,
    WorkerSetup,
)
from tuner.training.engines import feeds
from tuner.training.engines.feeds import Floats
from tuner.training.session import LaneSession, TrainingSession
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

CASES = [
    ("keras", "classes"), ("keras", "regression"), ("keras, xla", "classes"),
    ("streamed", "classes"), ("graph", "classes"), ("graph", "binary"), ("graph", "regression"),
    ("tiered", "binary"), ("lanes", "classes"), ("lanes", "regression"),
]  # fmt: skip
BEST_F1 = Goal("val_f1", "maximize")
EPOCHS = 3


def f1_request(task: str, engine: str, **params: Any) -> TrialRequest:
    goal = BEST_F1 if task != "regression" else Goal("val_loss", "minimize")
    asked = "keras" if engine.startswith("keras") else "auto"
    request = make_request(goal=goal, engine=asked, epochs=EPOCHS, **params)  # type: ignore[arg-type]
    return replace(request, host_metrics=() if task == "regression" else ("f1",))


def run(engine: str, request: TrialRequest, folder: Path) -> tuple[Trainer, list[Report], Ended]:
    setup = WorkerSetup(folder, budget_bytes=0 if engine == "streamed" else float("inf"))
    if engine == "lanes":
        session: TrainingSession = LaneSession(replace(setup, lanes=2))
    else:
        session = TrainingSession(setup)
    *reports, ended = session.events(request)
    assert isinstance(ended, Ended)
    assert ended.engine == ("keras" if engine == "streamed" else engine)
    return session.trainer, [r for r in reports if isinstance(r, Report)], ended


def predict(trainer: Trainer, request: TrialRequest) -> Floats:
    """What the engine predicts with the weights that the trial ended with."""
    best = weights(trainer)
    program, feed = trainer.prepare(request)
    program.set_weights(best)
    return feed.predictions()


@pytest.mark.parametrize(("engine", "task"), CASES)
def test_predictions_are_those_of_the_saved_network(
    engine: str, task: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if engine in ("keras, xla", "tiered"):
        request.getfixturevalue("xla")
    # Several chunks, the last of which is shorter.
    request.getfixturevalue("monkeypatch").setattr(f"{feeds.__name__}._CHUNK_ROWS", 10)
    dataset = on_disk(make_dataset(task), tmp_path)
    trial_request = f1_request(task, engine, dropout=0.2, l2=0.01)
    trainer, reports, ended = run(engine, trial_request, tmp_path)
    predictions = predict(trainer, trial_request)
    assert (predictions.dtype, len(predictions)) == (np.float32, 33)
    model = export_network("mlp", trial_request.params, dataset, weights(trainer))
    expected = model.predict(dataset.validation.x, verbose=0)
    if task != "classes":
        expected = expected[:, 0]
    np.testing.assert_allclose(predictions, expected, rtol=1e-4, atol=1e-5)
    assert ended.best_epoch is not None
    best = reports[ended.best_epoch - 1].metrics
    assert best == pytest.approx(best | metrics_of(task, dataset.validation.y, expected), rel=1e-4)
    if task != "regression":
        scores = [report.metrics["val_f1"] for report in reports]
        assert (len(scores), ended.score) == (EPOCHS, max(scores))
        assert ended.best_epoch == scores.index(max(scores)) + 1
    assert set(ended.seconds) == {"prepare", "first_call", "train", "evaluate"}


def metrics_of(task: str, y: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Computed without the engines."""
    if task == "regression":
        return {"val_mae": float(np.abs(y - expected).mean())}
    labels = expected.argmax(-1) if task == "classes" else expected > 0.5
    f1 = f1_score(y, labels, average="macro" if task == "classes" else "binary")
    return {"val_accuracy": float((labels == y).mean()), "val_f1": float(f1)}


def test_host_metrics_change_no_weight_and_are_on_the_test_split_too() -> None:
    trainer = Trainer(make_dataset())
    plain = make_request(epochs=2)
    train(trainer, plain)
    expected = [weight.tobytes() for weight in weights(trainer)]
    reports, _ = train(trainer, replace(plain, host_metrics=("f1",)))
    assert [weight.tobytes() for weight in weights(trainer)] == expected
    assert all("val_f1" in report.metrics for report in reports)
    on_test = replace(plain, held_out="test", goal=Goal("test_f1", "maximize"))
    reports, ended = train(trainer, replace(on_test, host_metrics=("f1",)))
    assert "test_f1" not in reports[0].metrics
    assert ended.score == reports[-1].metrics["test_f1"]


def test_without_host_metrics_nothing_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, request = Trainer(make_dataset()), make_request(epochs=2)
    _, feed = trainer.prepare(request)
    monkeypatch.setattr(type(feed), "predictions", None)
    reports, _ = train(trainer, request)
    assert set(reports[0].metrics) == {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_without_host_metrics_scikit_learn_is_not_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    imported = [name for name in sys.modules if name.partition(".")[0] == "sklearn"]
    for name in {*imported, "sklearn", "sklearn.metrics"}:
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises
    trainer, request = Trainer(make_dataset()), make_request()
    train(trainer, request)
    with pytest.raises(ImportError):
        train(trainer, replace(request, host_metrics=("f1",)))


def test_diverged_trials_end_without_predictions() -> None:
    dataset = make_dataset("regression")
    request = make_request(activation="relu", learning_rate=1e6, batch_size=4, epochs=3)
    _, ended = train(Trainer(dataset), replace(request, host_metrics=("f1",)))
    assert ended.end == "diverged"


OWN = """
import numpy as np
def far(y_true, y_pred):
    return np.abs(y_true - y_pred).max()
def picky(y_true, y_pred):
    return float("nan") if y_true[0] > 0 else 1.0
def broken(y_true, y_pred):
    return y_pred.no_such_thing
"""
FAR = Goal("val_far", "minimize")


def own_session(folder: Path, lanes: int = 1) -> TrainingSession:
    own = {name: FunctionCode("own.py", name, OWN, ()) for name in ("far", "picky", "broken")}
    setup = WorkerSetup(folder, metrics=own, lanes=lanes)
    return LaneSession(setup) if lanes > 1 else TrainingSession(setup)


def own_request(goal: Goal, *names: str, **params: Any) -> TrialRequest:
    return replace(make_request(goal=goal, epochs=EPOCHS, **params), host_metrics=names)


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_own_metric_is_given_targets_in_the_units_of_the_data(
    lanes: int, tmp_path: Path
) -> None:
    """The target is shifted: float32 would have lost the differences."""
    dataset = on_disk(replace(make_dataset("regression"), target_shift=1e9), tmp_path)
    session, request = own_session(tmp_path, lanes), own_request(FAR, "far", "r2", "picky")
    *reports, ended = session.events(request)
    predictions = predict(session.trainer, request)
    farthest = np.abs(dataset.validation.y - predictions).max()
    assert isinstance(ended, Ended)
    assert ended.score == pytest.approx(farthest, rel=1e-5)
    metrics = [report.metrics for report in reports if isinstance(report, Report)]
    assert ended.score == min(each["val_far"] for each in metrics)
    # A recorded metric without a value is left out: the trial has not diverged.
    assert not any("val_picky" in each for each in metrics)
    assert all("val_r2" in each for each in metrics)


def test_an_objective_without_a_value_is_a_diverged_trial(tmp_path: Path) -> None:
    on_disk(make_dataset("regression"), tmp_path)
    session = own_session(tmp_path)
    report, ended = session.events(own_request(Goal("val_picky", "maximize"), "picky"))
    assert isinstance(report, Report)
    assert np.isnan(report.metrics["val_picky"])
    assert isinstance(ended, Ended)
    assert (ended.end, ended.score) == ("diverged", None)


def test_an_own_metric_that_raises_fails_the_trial_as_its_users_error(tmp_path: Path) -> None:
    on_disk(make_dataset("regression"), tmp_path)
    session = own_session(tmp_path)
    with pytest.raises(MetricError) as error:
        list(session.events(own_request(FAR, "far", "broken")))
    failed = session.failure(error.value)
    assert failed.kind == "user_error"
    assert failed.message.startswith("MetricError: own.py:8: AttributeError")
    assert "return y_pred.no_such_thing" in failed.detail


def test_a_resumed_trial_has_the_values_of_one_that_was_not_interrupted(tmp_path: Path) -> None:
    on_disk(make_dataset("regression"), tmp_path)
    request = own_request(FAR, "far", "r2", learning_rate=0.3)
    *whole, ended = own_session(tmp_path).events(request)
    artifacts = FolderArtifacts(tmp_path / "checkpoints")
    first = own_session(tmp_path)
    events = first.events(replace(request, checkpoints=Checkpoints(artifacts, attempt=1)))
    next(events), next(events)
    first.checkpoint()
    events.close()
    again = replace(request, checkpoints=Checkpoints(artifacts, attempt=2, known_epochs=2))
    resumed, *rest, ended_again = own_session(tmp_path).events(again)
    assert resumed == Resumed(2)
    assert [r.metrics for r in rest if isinstance(r, Report)] == [
        r.metrics for r in whole[2:] if isinstance(r, Report)
    ]
    assert isinstance(ended, Ended)
    assert isinstance(ended_again, Ended)
    assert (ended_again.score, ended_again.best_epoch) == (ended.score, ended.best_epoch)
