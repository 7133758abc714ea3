"""The learning rates that training really uses: step by step, after a checkpoint, in all feeds."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras_reference import Built, compare, dense_network, fitted
from tensorflow_helpers import LOWEST_LOSS, make_dataset, make_request, on_disk, train, weights
from test_schedules import Plateau
from test_trial_resume import interrupt, second_attempt

from tuner.study.messages import Goal, Report, Resumed, TrialRequest
from tuner.training.engines.keras import KerasProgram
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

EXERCISES = {
    "schedule": "test_each_step_has_its_own_rate",
    "plateau_factor": "test_plateau_in_a_trial",
}

DECAYS = keras.optimizers.schedules
PLATEAU = {
    "schedule": "plateau", "plateau_factor": 0.5, "plateau_patience": 1, "patience": 50,
    "learning_rate": 1.5, "epochs": 12, "width": 32,
}  # fmt: skip
PER_STEP: dict[str, tuple[dict[str, Any], Any]] = {
    "cosine": (
        {"schedule": "cosine", "cosine_floor": 0.1},
        DECAYS.CosineDecay(0.4, 5, alpha=0.1),
    ),
    "exponential": (
        {"schedule": "exponential", "decay": 0.1},
        DECAYS.ExponentialDecay(0.4, 5, 0.1),
    ),
    "warmup": (
        {"warmup_epochs": 0.6},  # three of the five steps
        DECAYS.PiecewiseConstantDecay([0, 1], [0.4 / 3, 0.8 / 3, 0.4]),
    ),
}  # fmt: skip


def by_keras(name: str) -> tuple[TrialRequest, Built]:
    params, schedule = PER_STEP[name]
    dataset, request = make_dataset(), make_request(learning_rate=0.4, **params)
    network = dense_network(dataset, [keras.layers.Dense(8, activation="tanh")])
    return request, fitted(dataset, request, network, keras.optimizers.SGD(schedule))


@pytest.mark.parametrize("name", PER_STEP)
def test_each_step_has_its_own_rate(name: str) -> None:
    request, expected = by_keras(name)
    compare(Trainer(make_dataset()), request, expected)
    if name == "cosine":  # in parts, too
        in_parts = replace(request, first_epoch_reports=3)
        intervals, _ = train(trainer := Trainer(make_dataset()), in_parts)
        assert len(intervals) == 3
        for ours, theirs in zip(weights(trainer), expected[0], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_each_step_has_its_own_rate_streamed(tmp_path: Path) -> None:
    request, expected = by_keras("exponential")
    compare(Trainer(on_disk(make_dataset(), tmp_path), budget_bytes=0), request, expected)


@pytest.mark.usefixtures("xla")
def test_each_step_has_its_own_rate_compiled_by_xla() -> None:
    request, expected = by_keras("exponential")
    compare(Trainer(make_dataset()), request, expected)


@pytest.mark.parametrize(
    ("goal", "min_delta"), [(LOWEST_LOSS, 0.01), (Goal("val_accuracy", "maximize"), 0.05)]
)
def test_plateau_in_a_trial(goal: Goal, min_delta: float) -> None:
    request = make_request(goal=goal, engine="keras", **PLATEAU | {"plateau_min_delta": min_delta})
    trainer = Trainer(make_dataset())
    theirs = Plateau(1.5, request.params, goal.direction)
    expected, seen = 1.5, set()
    for event in trainer.run(request):
        if isinstance(event, Report):
            assert isinstance(trainer.program, KerasProgram)
            used = float(trainer.program.optimizer.learning_rate)
            assert used == pytest.approx(expected, rel=1e-6), event.epoch
            seen.add(used)
            expected = theirs.after(event.metrics[goal.metric])
    assert len(seen) >= 3


def test_plateau_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    dataset = make_dataset()
    request = make_request(engine="keras", **PLATEAU | {"plateau_min_delta": 0.01})
    whole, used = _curve(Trainer(dataset), request)
    for epoch in (4, 9):
        assert used[epoch] < used[0]  # it has been lowered before the interruption
        trainer = Trainer(dataset)
        interrupt(trainer, request, epoch, tmp_path / str(epoch))
        resumed, rates = _curve(Trainer(dataset), second_attempt(request, tmp_path / str(epoch)))
        assert rates == used[epoch:]
        assert resumed == whole[epoch:]


def _curve(trainer: Trainer, request: TrialRequest) -> tuple[list[dict[str, float]], list[float]]:
    metrics, used = [], []
    for event in trainer.run(request):
        if isinstance(event, Report):
            assert isinstance(trainer.program, KerasProgram)
            metrics.append(event.metrics)
            used.append(float(trainer.program.optimizer.learning_rate))
    assert not isinstance(event, Resumed)
    return metrics, used
