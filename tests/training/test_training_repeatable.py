"""Equal plans give bit-equal curves and weights, and trials of one structure share a program."""

import os
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from tensorflow_helpers import make_dataset, make_request, on_disk, outcome, train, weights

from tuner.search_space.parameters import OPTIMIZERS
from tuner.study.messages import TrialRequest
from tuner.training.engines.cache import ProgramCache
from tuner.training.engines.feeds import ResidentFeed
from tuner.training.engines.keras import Program
from tuner.training.trial import Trainer, epoch_order

pytestmark = pytest.mark.tensorflow

FULL: dict[str, Any] = {"dropout": 0.3, "batch_norm": True, "epochs": 2}


def test_the_same_request_again_is_bit_equal() -> None:
    again_and_again({"optimizer": "adam", **FULL})


@pytest.mark.usefixtures("xla")
def test_the_same_request_again_is_bit_equal_under_xla() -> None:
    again_and_again({"dropout": 0.3, "momentum": 0.5, "epochs": 2})


def again_and_again(params: dict[str, Any]) -> None:
    dataset = make_dataset()
    request = make_request(seed=2**40 + 7, intervals=2, **params)
    trainer = Trainer(dataset)
    first = outcome(trainer, request)
    assert outcome(trainer, request) == first
    other = outcome(trainer, make_request(seed=8, **params | {"dropout": 0.7}))
    assert other[1] != first[1]
    assert outcome(trainer, request) == first
    assert outcome(Trainer(dataset), request) == first
    assert outcome(trainer, make_request(seed=2**40 + 8, intervals=2, **params))[0] != first[0]


def test_streamed_training_equals_resident_training(tmp_path: Path) -> None:
    dataset = make_dataset("regression")
    request = make_request(intervals=2, **FULL)
    resident = Trainer(dataset)
    streamed = Trainer(on_disk(dataset, tmp_path), budget_bytes=dataset.nbytes - 1)
    expected, ended = train(resident, request)
    found, streamed_ended = train(streamed, request)
    assert [i.step for i in found] == [i.step for i in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-5)
    assert streamed_ended.score == pytest.approx(ended.score, rel=1e-5)
    # Steps of this size depend on the order of the rows: equal weights mean equal order.
    for one, other in zip(weights(streamed), weights(resident), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_every_step_draws_masks_of_its_own() -> None:
    for engine in ("auto", "keras"):
        draws_anew(make_request(dropout=0.5, learning_rate=1e-30, engine=engine))  # type: ignore[arg-type]


def draws_anew(request: TrialRequest) -> None:
    program, feed = Trainer(make_dataset()).prepare(request)
    rows = np.arange(75, dtype=np.int32)

    def losses() -> list[float]:  # of the same batch, by the same weights
        program.start(request.params, request.seed)
        return [float(feed.train(rows, np.full(5, 1e-30, np.float32), 0, 1)[0]) for _ in range(4)]

    assert len(set(losses())) == 4
    assert losses() == losses()


def test_scalars_are_inputs_of_one_program() -> None:
    dataset = make_dataset()
    base: dict[str, Any] = {
        "depth": 2, "dropout": [0.2, 0.4], "momentum": 0.5, "learning_rate": 0.1, "engine": "keras",
    }  # fmt: skip
    trials = [
        base,
        base | {"learning_rate": 0.02},
        base | {"momentum": 0.9},
        base | {"dropout": [0.2, 0.8]},
        base | {"dropout": [0.6, 0.4]},
    ]
    trainer = Trainer(dataset)
    outcomes = [outcome(trainer, make_request(**params)) for params in trials]
    program, feed = trainer.prepare(make_request(**base))
    assert isinstance(feed, ResidentFeed)
    assert feed._loop.experimental_get_tracing_count() == 1
    assert feed._score.experimental_get_tracing_count() == 1
    assert len({str(metrics) for metrics, _ in outcomes}) == len(trials)
    assert outcomes[-1] == outcome(Trainer(dataset), make_request(**trials[-1]))
    assert trainer.prepare(make_request(**base, activation="relu"))[0] is not program


# What a trial may bring to a program at hand: each of them in a second trial, behind a first one
# that has other numbers everywhere.
SCALARS: dict[str, Any] = {
    "learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.3, "clip_norm": 0.1,
    "label_smoothing": 0.3, "l1": 0.02, "l2": 0.05, "max_norm": 0.5, "leaky_slope": 0.6,
    "dropout": [0.6, 0.4], "input_dropout": 0.5, "augment_shift": 2, "warmup_epochs": 1.5,
    "schedule": "cosine", "initializer": "orthogonal", "init_sigma": 0.5,
}  # fmt: skip
EVERYTHING: dict[str, Any] = {
    "depth": 2, "epochs": 2, "activation": "leaky_relu", "leaky_slope": 0.1, "momentum": 0.5,
    "weight_decay": 0.1, "clip_norm": 0.5, "label_smoothing": 0.1, "l1": 0.001, "l2": 0.001,
    "max_norm": 1.5, "dropout": [0.2, 0.4], "input_dropout": 0.1, "augment_shift": 1,
    "augment_flip": True, "initializer": "normal", "init_sigma": 0.3, "cosine_floor": 0.1,
    "engine": "keras",
}  # fmt: skip


def test_every_scalar_is_an_input_of_one_program() -> None:
    dataset = make_dataset(images=True)
    trainer, fresh = Trainer(dataset), Trainer(dataset)
    base = make_request(**EVERYTHING)
    first = outcome(trainer, base)
    program, feed = trainer.prepare(base)
    assert isinstance(feed, ResidentFeed)
    everything_else = make_request(**EVERYTHING | SCALARS)
    for name, value in SCALARS.items():
        request = make_request(**EVERYTHING | {name: value})
        assert trainer.prepare(request)[0] is program, name
        assert outcome(trainer, request)[1] != first[1], name
        assert outcome(trainer, base) == first, name
    last = outcome(trainer, everything_else)
    assert trainer.program is program
    assert feed._loop.experimental_get_tracing_count() == 1
    assert feed._score.experimental_get_tracing_count() == 1
    assert outcome(fresh, everything_else) == last


def test_huber_and_every_optimizer_find_a_program_as_new() -> None:
    for optimizer in OPTIMIZERS:
        base: dict[str, Any] = {
            "loss": "huber", "huber_delta": 0.5, "optimizer": optimizer, "learning_rate": 0.02,
            "engine": "keras",
        }  # fmt: skip
        trainer = Trainer(dataset := make_dataset("regression"))
        first = outcome(trainer, make_request(**base))
        program = trainer.program
        other = make_request(**base | {"huber_delta": 1.5, "learning_rate": 0.01})
        second = outcome(trainer, other)
        assert trainer.program is program
        assert second != first
        assert second == outcome(Trainer(dataset), other)


def test_only_recent_programs_are_kept() -> None:
    trainer = Trainer(make_dataset(), programs=ProgramCache(most_programs=3))

    def program(width: int) -> Program:
        return trainer.prepare(make_request(width=width, engine="keras"))[0]

    programs = [program(width) for width in range(1, 5)]
    assert program(4) is programs[-1]
    assert program(2) is programs[1]
    assert program(1) is not programs[0]


def test_the_order_of_rows_is_a_function_of_seed_and_epoch() -> None:
    orders = [epoch_order(seed, epoch, 50) for seed in (0, 2**63) for epoch in (1, 2, 3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({order.tobytes() for order in orders}) == len(orders)
    np.testing.assert_array_equal(epoch_order(2**63, 3, 50), orders[-1])
    assert orders[0].dtype == np.int32
