"""Figures of a user's own metric for known rows, with intervals, as `evaluations` has them for
tuner's metrics. A saved network does not carry such a metric: only its study does."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.models.evaluations import Estimate, predictions_of
from tuner.models.resampling import Resampling, of_repeated_rows
from tuner.preparation.kinds import Task

_Array = npt.NDArray[Any]
OwnFunction = Callable[[_Array, _Array], float]

# The function is called once for each: Python of the user's, which may take a while.
_RESAMPLES = 200


def own_figure(function: OwnFunction, outputs: _Array, y: _Array, task: Task) -> Estimate:
    """The metric's value. `outputs`, `y`: as `evaluate_outputs` takes them. Raises MetricError
    where the function fails."""
    predictions = predictions_of(outputs, y, task)
    return _estimate(lambda rows: function(y[rows], predictions[rows]), len(y))


def own_difference(
    function: OwnFunction, outputs_a: _Array, outputs_b: _Array, y: _Array, task: Task
) -> Estimate:
    """The metric of network a less that of network b on the same rows, by a paired bootstrap."""
    a, b = (predictions_of(each, y, task) for each in (outputs_a, outputs_b))
    return _estimate(lambda rows: function(y[rows], a[rows]) - function(y[rows], b[rows]), len(y))


def _estimate(statistic: Callable[[_Array], float], rows: int) -> Estimate:
    value = statistic(np.arange(rows))
    if not math.isfinite(value):
        return Estimate(None, None, None)
    plan = Resampling.plan(rows, 1, _RESAMPLES, seed=0)
    own = plan.intervals(lambda weights: {"": of_repeated_rows(statistic, weights)}, {"": value})
    return Estimate(value, own[""].low, own[""].high)
