"""The normal distribution's lower tail, as Optuna's TPE computes it one number at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers._tpe import _truncnorm

from tuner.algorithms.normal_tails import log_ndtr, speed_up_tpe

single = _truncnorm._log_ndtr_single.__wrapped__
# Where the formulas change, and far beyond.
EDGES = [0.0, -1.0, 1.0, 6.0, -20.0, -1e150, 1e300, -math.inf, math.inf]
NEAR_EDGES = [math.nextafter(edge, to) for edge in EDGES[:-2] for to in (-math.inf, math.inf)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-60, 60) | st.sampled_from(EDGES + NEAR_EDGES), max_size=40))
def test_it_is_optunas_to_the_last_bit(numbers: list[float]) -> None:
    assert log_ndtr(np.array(numbers)).tolist() == [single(number) for number in numbers]


def test_so_it_is_for_many_numbers_of_all_sizes() -> None:
    numbers = np.outer(np.random.default_rng(0).normal(size=2000), [0.1, 1, 6, 20, 1e3])
    logs = log_ndtr(numbers)
    assert logs.shape == numbers.shape
    assert logs.ravel().tolist() == [single(number) for number in numbers.ravel().tolist()]


def test_tpe_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where an Optuna keeps its own under another name."""
    monkeypatch.setattr(_truncnorm, "_log_ndtr", None)
    speed_up_tpe()
    low, high = np.array([-30.0, -1.0, 2.0]), np.array([-29.0, 1.0, 3.0])
    used = _truncnorm._log_gauss_mass(low, high)
    expected = [math.log(math.erfc(29 / math.sqrt(2)) / 2), math.log(math.erf(1 / math.sqrt(2)))]
    assert used[:2] == pytest.approx(expected, rel=1e-9)
