"""Weighted rows in every engine, against Keras' own `fit` with class_weight and sample_weight."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras_reference import Built, compare, dense_network, fitted
from tensorflow_helpers import make_dataset, make_request, outcome, own_network, weights

from tuner.data import Dataset, save_dataset
from tuner.networks.custom import CustomNetwork
from tuner.study.engines import Engine
from tuner.study.messages import Ended, Goal, TrialRequest, WorkerSetup
from tuner.training.row_weights import RowWeights
from tuner.training.session import LaneSession
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

EXERCISES = {"class_weight": "test_each_engine_weighs_rows_as_keras_does"}

# By task, class_weight; binary and regression have sample weights too.
BY_CLASS = {"classes": "{a: 0.5, b: 4}", "binary": "balanced", "regression": "none"}
# The tiered engine trains the first epoch in the graph, and the second in a lane of XLA.
CASES = [
    *((engine, task) for engine in ("keras", "tiered") for task in BY_CLASS),
    ("keras, xla", "binary"),
    ("streamed", "binary"),
]


def data_and_request(task: str) -> tuple[Dataset, TrialRequest]:
    dataset = make_dataset(task)
    if task != "classes":
        drawn = np.random.default_rng(1).uniform(0, 3, len(dataset.train))
        drawn[:5] = 0  # these rows are not learnt from
        dataset = replace(dataset, train=replace(dataset.train, weights=drawn.astype(np.float32)))
    rate = 0.02 if task == "regression" else 0.1
    return dataset, make_request(seed=3, epochs=2, learning_rate=rate, class_weight=BY_CLASS[task])


@cache
def by_keras(task: str, network: CustomNetwork | None = None) -> Built:
    return trained(*data_and_request(task), network)


def trained(dataset: Dataset, request: TrialRequest, network: CustomNetwork | None = None) -> Built:
    """Keras refuses class and sample weights together: it is given their product."""
    model = dense_network(dataset, [keras.layers.Dense(8, activation="tanh")])
    sgd = keras.optimizers.SGD(request.params["learning_rate"])
    if dataset.task == "classes":
        return fitted(dataset, request, model, sgd, class_weight={0: 0.5, 1: 4.0, 2: 1.0})
    sample_weight = np.asarray(dataset.train.weights)
    if dataset.task == "binary":
        rows = np.bincount(dataset.train.y)
        sample_weight = sample_weight * (rows.sum() / (2 * rows))[dataset.train.y]
    return fitted(dataset, request, model, sgd, sample_weight=sample_weight, network=network)


@pytest.mark.parametrize(("engine", "task"), CASES)
def test_each_engine_weighs_rows_as_keras_does(
    engine: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("worth_compiling", "worth_lanes"):
        compiles = engine in ("keras, xla", "tiered")
        monkeypatch.setattr(f"tuner.training.trial.{name}", lambda *_, on=compiles: on)
    dataset, request = data_and_request(task)
    if engine.startswith("keras"):
        request = replace(request, engine="keras")
    trainer = Trainer(dataset, budget_bytes=0.0 if engine == "streamed" else 1e9)
    compare(trainer, request, by_keras(task))
    assert trainer.program is not None
    assert trainer.program.engine == ("keras" if engine == "streamed" else engine)


OWN = CustomNetwork(
    "nets.py",
    "build",
    """
import keras
def build(params, input_shape, outputs):
    return keras.Sequential([
        keras.Input(input_shape),
        keras.layers.Dense(8, activation="tanh"),
        keras.layers.Dense(outputs, activation="sigmoid"),
    ])
""",
)


def test_an_own_network_weighs_rows_too() -> None:
    dataset, request = data_and_request("binary")
    compare(Trainer(dataset, network=OWN), own_network(request), by_keras("binary", OWN))


def test_a_lane_weighs_rows_too(tmp_path: Path) -> None:
    dataset, request = data_and_request("binary")
    save_dataset(dataset, tmp_path)
    session = LaneSession(WorkerSetup(tmp_path, 1e9))
    *_, ended = session.events(request)
    assert isinstance(ended, Ended)
    assert ended.engine == "lanes"
    for ours, theirs in zip(weights(session.trainer), by_keras("binary")[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_a_comparison_weighs_the_rows_of_validation_too() -> None:
    dataset, request = data_and_request("binary")
    drawn = np.random.default_rng(2).uniform(0, 3, len(dataset.validation)).astype(np.float32)
    dataset = replace(dataset, validation=replace(dataset.validation, weights=drawn)).for_test()
    goal = Goal("test_loss", "minimize")
    compare(
        Trainer(dataset), replace(request, goal=goal, held_out="test"), trained(dataset, request)
    )


@pytest.mark.parametrize("engine", ["keras", "auto"])
def test_weights_of_one_change_no_bit(engine: str) -> None:
    dataset, request = make_dataset("classes"), make_request(epochs=2, class_weight="none")
    request = replace(request, engine=engine)  # type: ignore[arg-type]
    ones = np.ones(len(dataset.train), np.float32)
    weighted = replace(dataset, train=replace(dataset.train, weights=ones))
    assert outcome(Trainer(weighted), request) == outcome(Trainer(dataset), request)


@pytest.mark.parametrize(("engine", "then"), [("auto", "none"), ("keras", "{a: 3}")])
def test_a_trial_after_another_has_its_own_weights(engine: Engine, then: str) -> None:
    """Trials of one program, both weighted or the first: the second is as if it came alone."""
    dataset = make_dataset("classes")
    choices = {"class_weight": ("none", "balanced", "{a: 3}")}
    first, second = (
        replace(make_request(class_weight=value, engine=engine), choices=choices)
        for value in ("balanced", then)
    )
    trainer = Trainer(dataset)
    outcome(trainer, first)
    program = trainer.program
    alone = make_request(class_weight=then, engine=engine)
    assert outcome(trainer, second) == outcome(Trainer(dataset), alone)
    assert trainer.program is program


def test_weights_are_computed_once_for_trials_of_one_setting() -> None:
    of_rows = RowWeights(make_dataset("classes"))
    first = of_rows.of({"class_weight": "balanced", "width": 3})
    assert of_rows.of({"class_weight": "balanced", "width": 9}) is first
    assert of_rows.of({"class_weight": "none"}) is None
    assert of_rows.of({}) is None
