"""When compiling repays."""

import pytest

from tuner.study.messages import Goal, TrialRequest
from tuner.training.engines.cost import (
    Compilation,
    worth_compiling,
    worth_lanes,
    worth_tracing_last_batch,
)

pytestmark = pytest.mark.tensorflow  # by what tuner.networks imports

SHAPE, FEW_ROWS, ROWS = (6,), 75, 4000


def make_request(network: str = "mlp", **params: object) -> TrialRequest:
    complete = {"depth": 1, "width": 8, "batch_size": 16, "epochs": 1} | params
    return TrialRequest(network, complete, 0, Goal("val_loss", "minimize"))


def test_xla_repays_for_long_trials_only() -> None:
    assert not worth_compiling(make_request(), SHAPE, FEW_ROWS)
    assert worth_compiling(make_request(epochs=100, batch_size=1), SHAPE, ROWS)
    assert worth_compiling(make_request(epochs=100, width=[4096]), SHAPE, ROWS)
    assert not worth_compiling(make_request(depth=0, width=[]), SHAPE, FEW_ROWS)


def test_a_users_own_network_is_taken_for_a_middling_one() -> None:
    own, small = make_request("nets.py:build", epochs=100), make_request(epochs=100)
    # 12 500 steps of 0.1 ms do not repay, the arithmetic of 2x128 units does.
    assert not worth_compiling(small, (784,), 2000)
    assert worth_compiling(own, (784,), 2000)


def test_lanes_repay_by_the_epochs_after_the_first() -> None:
    # An epoch of 30 000 steps saves 6 s; of two such epochs a third is counted.
    request = {"batch_size": 2}
    assert not worth_lanes(make_request(epochs=1, **request), SHAPE, 60_000)
    assert worth_lanes(make_request(epochs=3, **request), SHAPE, 60_000)
    assert not worth_lanes(make_request(epochs=3, batch_size=2000), SHAPE, 60_000)


def test_the_formula() -> None:
    compilation = Compilation(compile_s=1.0, saved_per_step_s=1e-3, saved_share=0.5)
    # 3000 steps save 3 s, of which a third of the trials get to see all.
    assert not compilation.repays(steps=300, rows=1, weights=0, epochs=10)
    assert compilation.repays(steps=301, rows=1, weights=0, epochs=10)
    # 6 operations for each of 1e6 weights and 1e4 rows take 1 s at 60 GFLOP/s; half is saved.
    assert not compilation.repays(steps=0, rows=10_000, weights=10**6, epochs=6)
    assert compilation.repays(steps=0, rows=10_001, weights=10**6, epochs=6)


def test_the_last_batch_is_traced_for_many_epochs() -> None:
    assert not worth_tracing_last_batch(make_request(epochs=30))
    assert worth_tracing_last_batch(make_request(epochs=31))
