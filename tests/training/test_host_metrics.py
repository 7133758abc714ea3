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

from tuner.data import Dataset
from tuner.networks import export_network
from tuner.study.messages import Ended, Goal, Report, TrialRequest, WorkerSetup
from tuner.training.engines.feeds import Floats
from tuner.training.session import LaneSession, open_session
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

ENGINES = ("keras", "keras, xla", "streamed", "graph", "tiered", "lanes")
TASKS = ("classes", "binary", "regression")
BEST_F1 = Goal("val_f1", "maximize")
EPOCHS = 3


def f1_request(task: str, engine: str, **params: Any) -> TrialRequest:
    goal = BEST_F1 if task != "regression" else Goal("val_loss", "minimize")
    asked = "keras" if engine.startswith("keras") else "auto"
    request = make_request(goal=goal, engine=asked, epochs=EPOCHS, **params)  # type: ignore[arg-type]
    return replace(request, host_metrics=() if task == "regression" else ("f1",))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param in ("keras, xla", "tiered"):
        request.getfixturevalue("xla")
    return str(request.param)


def run(
    engine: str, dataset: Dataset, request: TrialRequest, folder: Path
) -> tuple[Trainer, list[Report], Ended]:
    trainer = Trainer(dataset, budget_bytes=0 if engine == "streamed" else float("inf"))
    if engine == "lanes":
        session = open_session(WorkerSetup(folder, float("inf"), lanes=2))
        assert isinstance(session, LaneSession)
        trainer = session.trainer
    reports, ended = train(trainer, request)
    assert ended.engine == ("keras" if engine == "streamed" else engine)
    return trainer, reports, ended


def predict(trainer: Trainer, request: TrialRequest) -> Floats:
    """What the engine predicts with the weights that the trial ended with."""
    best = weights(trainer)
    program, feed = trainer.prepare(request)
    program.set_weights(best)
    return feed.predictions()


@pytest.mark.parametrize("task", TASKS)
def test_predictions_are_those_of_the_saved_network(
    engine: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several chunks, the last of which is shorter.
    monkeypatch.setattr("tuner.training.engines.feeds._CHUNK_ROWS", 10)
    dataset = on_disk(make_dataset(task), tmp_path)
    request = f1_request(task, engine, dropout=0.2, l2=0.01)
    trainer, reports, ended = run(engine, dataset, request, tmp_path)
    predictions = predict(trainer, request)
    assert (predictions.dtype, len(predictions)) == (np.float32, 33)
    model = export_network("mlp", request.params, dataset, weights(trainer))
    expected = model.predict(dataset.validation.x, verbose=0)
    if task != "classes":
        expected = expected[:, 0]
    np.testing.assert_allclose(predictions, expected, rtol=1e-4, atol=1e-5)
    # The sums of loss and metrics are over the same rows.
    assert ended.best_epoch is not None
    best = reports[ended.best_epoch - 1].metrics
    y = dataset.validation.y
    if task == "regression":
        assert best["val_mae"] == pytest.approx(np.abs(y - predictions).mean(), rel=1e-4)
    else:
        labels = predictions.argmax(-1) if task == "classes" else predictions > 0.5
        assert best["val_accuracy"] == pytest.approx((labels == y).mean())


@pytest.mark.parametrize("task", ["classes", "binary"])
def test_f1_is_an_objective_like_any_other(engine: str, task: str, tmp_path: Path) -> None:
    dataset = on_disk(make_dataset(task), tmp_path)
    request = f1_request(task, engine)
    trainer, reports, ended = run(engine, dataset, request, tmp_path)
    scores = [report.metrics["val_f1"] for report in reports]
    assert (len(scores), ended.score) == (EPOCHS, max(scores))
    assert ended.best_epoch == scores.index(max(scores)) + 1
    predictions, y = predict(trainer, request), dataset.validation.y
    if task == "classes":
        expected = f1_score(y, predictions.argmax(-1), average="macro")
    else:
        expected = f1_score(y, predictions > 0.5)
    assert ended.score == pytest.approx(expected)
    assert set(ended.seconds) == {"prepare", "first_call", "train", "evaluate"}


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
