"""Equal plans give bit-equal curves and weights, and trials of one structure share a program."""

import os
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from tensorflow_helpers import make_dataset, make_plan, on_disk, outcome, train, weights

from tuner.training.feeds import ResidentFeed
from tuner.training.trial import Trainer, epoch_order

pytestmark = pytest.mark.tensorflow

FULL: dict[str, Any] = {"dropout": 0.3, "batch_norm": True, "epochs": 2}


def test_the_same_plan_again_is_bit_equal() -> None:
    again_and_again({"optimizer": "adam", **FULL})


@pytest.mark.usefixtures("xla")
def test_the_same_plan_again_is_bit_equal_under_xla() -> None:
    again_and_again({"dropout": 0.3, "momentum": 0.5, "epochs": 2})


def again_and_again(params: dict[str, Any]) -> None:
    dataset = make_dataset()
    plan = make_plan(seed=2**40 + 7, intervals=2, **params)
    trainer = Trainer(dataset)
    first = outcome(trainer, plan)
    assert outcome(trainer, plan) == first
    other = outcome(trainer, make_plan(seed=8, **params | {"dropout": 0.7}))
    assert other[1] != first[1]
    assert outcome(trainer, plan) == first
    assert outcome(Trainer(dataset), plan) == first
    assert outcome(trainer, make_plan(seed=2**40 + 8, intervals=2, **params))[0] != first[0]


def test_streamed_training_equals_resident_training(tmp_path: Path) -> None:
    dataset = make_dataset("regression")
    plan = make_plan(intervals=2, **FULL)
    resident = Trainer(dataset)
    streamed = Trainer(on_disk(dataset, tmp_path), budget_bytes=dataset.nbytes - 1)
    expected, ended = train(resident, plan)
    found, streamed_ended = train(streamed, plan)
    assert [i.step for i in found] == [i.step for i in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-5)
    assert streamed_ended.score == pytest.approx(ended.score, rel=1e-5)
    # Steps of this size depend on the order of the rows: equal weights mean equal order.
    for one, other in zip(weights(streamed), weights(resident), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_every_step_draws_masks_of_its_own() -> None:
    trainer, plan = Trainer(make_dataset()), make_plan(dropout=0.5, learning_rate=1e-30)
    program, feed, _ = trainer.prepare(plan)
    rows = np.arange(75, dtype=np.int32)

    def losses() -> list[float]:  # of the same batch, by the same weights
        program.start(plan.params, plan.seed)
        return [float(feed.train(rows, np.full(5, 1e-30, np.float32), 0, 1)[0]) for _ in range(4)]

    assert len(set(losses())) == 4
    assert losses() == losses()


def test_scalars_are_inputs_of_one_program() -> None:
    dataset = make_dataset()
    base = {"depth": 2, "dropout": [0.2, 0.4], "momentum": 0.5, "learning_rate": 0.1}
    trials = [
        base,
        base | {"learning_rate": 0.02},
        base | {"momentum": 0.9},
        base | {"dropout": [0.2, 0.8]},
        base | {"dropout": [0.6, 0.4]},
    ]
    trainer = Trainer(dataset)
    outcomes = [outcome(trainer, make_plan(**params)) for params in trials]
    program, feed, _ = trainer.prepare(make_plan(**base))
    assert isinstance(feed, ResidentFeed)
    assert feed._loop.experimental_get_tracing_count() == 1
    assert feed._evaluate.experimental_get_tracing_count() == 1
    assert len({str(metrics) for metrics, _ in outcomes}) == len(trials)
    assert outcomes[-1] == outcome(Trainer(dataset), make_plan(**trials[-1]))
    assert trainer.prepare(make_plan(**base, activation="relu"))[0] is not program


def test_only_recent_programs_are_kept() -> None:
    trainer = Trainer(make_dataset())
    programs = [trainer.prepare(make_plan(width=width))[0] for width in range(1, 11)]
    assert trainer.prepare(make_plan(width=10))[0] is programs[-1]
    assert trainer.prepare(make_plan(width=3))[0] is programs[2]
    assert trainer.prepare(make_plan(width=1))[0] is not programs[0]


def test_the_order_of_rows_is_a_function_of_seed_and_epoch() -> None:
    orders = [epoch_order(seed, epoch, 50) for seed in (0, 2**63) for epoch in (1, 2, 3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({order.tobytes() for order in orders}) == len(orders)
    np.testing.assert_array_equal(epoch_order(2**63, 3, 50), orders[-1])
    assert orders[0].dtype == np.int32
