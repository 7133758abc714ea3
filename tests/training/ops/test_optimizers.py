"""Optimizers, clipping and decay of weights against Keras' own, after an epoch of five steps."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras_reference import compare, dense_network, far_apart, fitted
from tensorflow_helpers import make_dataset, make_request, train, weights

from tuner.search_space.parameters import OPTIMIZERS as KNOWN
from tuner.search_space.parameters import TRAINING
from tuner.training.engines.keras import KerasProgram
from tuner.training.engines.tiered import TieredProgram
from tuner.training.ops import optimizers
from tuner.training.program_key import program_key_of, slower_engine_reason
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

EXERCISES = {
    "optimizer": "test_every_optimizer_is_that_of_keras",
    "learning_rate": "test_every_optimizer_is_that_of_keras",
    "momentum": "test_every_optimizer_is_that_of_keras",
    "nesterov": "test_every_optimizer_is_that_of_keras",
    "weight_decay": "test_weight_decay_is_that_of_keras",
    "clip_norm": "test_clipping_is_that_of_keras",
}

KERAS = keras.optimizers
OPTIMIZERS: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    "adam": ({"learning_rate": 0.02}, KERAS.Adam),
    "adamw": ({"learning_rate": 0.02}, lambda rate, **more: KERAS.AdamW(rate, 0.0, **more)),
    "nadam": ({"learning_rate": 0.02}, KERAS.Nadam),
    "sgd": ({"learning_rate": 0.2}, KERAS.SGD),
    "rmsprop": ({"learning_rate": 0.01}, KERAS.RMSprop),
    "adagrad": ({"learning_rate": 0.1}, KERAS.Adagrad),
    "momentum": (
        {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.8},
        lambda rate, **more: KERAS.SGD(rate, momentum=0.8, **more),
    ),
    "nesterov": (
        {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.8, "nesterov": True},
        lambda rate, **more: KERAS.SGD(rate, momentum=0.8, nesterov=True, **more),
    ),
    "nesterov alone": (
        {"optimizer": "sgd", "learning_rate": 0.2, "momentum": 0.0, "nesterov": True},
        lambda rate, **more: KERAS.SGD(rate, nesterov=True, **more),
    ),
}


def request_of(name: str, **params: Any) -> Any:
    return make_request(**{"optimizer": name, "batch_size": 16} | OPTIMIZERS[name][0] | params)


def by_keras(request: Any, optimizer: Any, *hidden: Any) -> Any:
    dataset = make_dataset()
    layers = hidden or [keras.layers.Dense(8, activation="tanh")]
    return fitted(dataset, request, dense_network(dataset, layers), optimizer)


def test_all_optimizers_are_here() -> None:
    assert {*KNOWN} <= OPTIMIZERS.keys()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_that_of_keras(name: str) -> None:
    request, optimizer = request_of(name), OPTIMIZERS[name][1]
    expected = by_keras(request, optimizer(request.params["learning_rate"]))
    trainer = Trainer(make_dataset())
    compare(trainer, request, expected)
    compare(trainer, request, expected)  # a second trial starts with an optimizer as new


def test_nesterov_differs() -> None:
    results = []
    for name in ("momentum", "nesterov"):
        trainer = Trainer(make_dataset())
        train(trainer, request_of(name))
        results.append(weights(trainer))
    assert far_apart(*results)


@pytest.mark.parametrize("name", ["nesterov", "nadam"])
@pytest.mark.usefixtures("xla")
def test_compiled_by_xla_they_are_the_same(name: str) -> None:
    request, optimizer = request_of(name), OPTIMIZERS[name][1]
    compare(
        Trainer(make_dataset()),
        request,
        by_keras(request, optimizer(request.params["learning_rate"])),
    )


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_weight_decay_is_that_of_keras(name: str) -> None:
    """Of kernels alone, and unchanged by what normalisation needs."""
    request = request_of(name, weight_decay=0.3, batch_norm=True, norm_position="after")
    rate, make = request.params["learning_rate"], OPTIMIZERS[name][1]
    if name == "adamw":
        optimizer = KERAS.AdamW(rate, weight_decay=0.3)
    else:
        optimizer = make(rate, weight_decay=0.3)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    hidden = [keras.layers.Dense(8, activation="tanh"), keras.layers.BatchNormalization()]
    expected = by_keras(request, optimizer, *hidden)
    trainer = Trainer(make_dataset())
    compare(trainer, request, expected)
    train(trainer, request_of(name, batch_norm=True, norm_position="after"))
    assert far_apart(weights(trainer), expected[0])


def test_adamw_without_decay_is_adam() -> None:
    results = []
    for name in ("adam", "adamw"):
        trainer = Trainer(make_dataset())
        train(trainer, request_of(name, weight_decay=0.2))
        results.append([w.tobytes() for w in weights(trainer)])
    assert results[0] == results[1]


@pytest.mark.parametrize("name", ["sgd", "adagrad"])
def test_clipping_is_that_of_keras(name: str) -> None:
    request, make = request_of(name, clip_norm=0.07), OPTIMIZERS[name][1]
    rate = request.params["learning_rate"]
    expected = by_keras(request, make(rate, global_clipnorm=0.07))
    trainer = Trainer(make_dataset())
    compare(trainer, request, expected)
    train(trainer, request_of(name))
    assert far_apart(weights(trainer), expected[0])


def test_no_clipped_step_is_longer_than_the_norm() -> None:
    for clip_norm, longest in ((0.05, 0.05), (1e6, np.inf)):
        request = request_of("sgd", clip_norm=clip_norm, learning_rate=1.0, batch_size=75)
        trainer = Trainer(make_dataset())
        program, *_ = trainer.prepare(request)
        program.start(request.params, request.seed)
        before = program.weights()
        train(trainer, request)
        moved = [after - start for after, start in zip(weights(trainer), before, strict=True)]
        length = np.sqrt(sum(np.square(m).sum() for m in moved))
        assert length <= longest * 1.00001
        assert length > 0.0499


@pytest.fixture
def lion(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimizer that has a Keras form alone: the two entries that add one."""
    parameter = TRAINING["optimizer"]
    choices, keras_only = (*parameter.choices, "lion"), ("lion",)
    changed = replace(parameter, choices=choices, keras_only=keras_only)
    monkeypatch.setitem(TRAINING, "optimizer", changed)
    entry = optimizers.Optimizer(lambda numbers: keras.optimizers.Lion())
    monkeypatch.setitem(optimizers.OPTIMIZERS, "lion", entry)


@pytest.mark.usefixtures("lion")
def test_an_optimizer_without_a_shared_form_trains_in_the_keras_engine() -> None:
    request = make_request(optimizer="lion", learning_rate=0.01, batch_size=16)
    assert request.engine == "auto"
    reason = slower_engine_reason(request.network, request.params)
    assert reason is not None
    assert "lion" in reason
    expected = by_keras(request, KERAS.Lion(0.01))
    trainer = Trainer(make_dataset())
    compare(trainer, request, expected)
    assert isinstance(trainer.program, KerasProgram)
    compare(trainer, request, expected)  # a second trial starts with an optimizer as new


@pytest.mark.usefixtures("lion")
def test_other_trials_of_its_study_share_a_program() -> None:
    choices = {"optimizer": ("adam", "lion", "sgd")}
    request = replace(request_of("adam"), choices=choices)
    key = program_key_of(request)
    assert key is not None
    assert key.optimizers == ("adam", "sgd")
    trainer = Trainer(make_dataset())
    train(trainer, request)
    assert isinstance(trainer.program, TieredProgram)
