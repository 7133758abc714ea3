"""Metrics that the host computes from predictions, in every engine."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from sklearn.metrics import f1_score
from tensorflow_helpers import make_dataset, make_request, on_disk, train, weights

from tuner.networks import export_network
from tuner.study.messages import Ended, Goal, Report, TrialRequest, WorkerSetup
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
    *reports, ended = session.run(request)
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


def test_diverged_trials_end_without_predictions() -> None:
    dataset = make_dataset("regression")
    request = make_request(activation="relu", learning_rate=1e6, batch_size=4, epochs=3)
    _, ended = train(Trainer(dataset), replace(request, host_metrics=("f1",)))
    assert ended.end == "diverged"
