"""Figures of a user's own metric for known rows, with intervals, as `evaluations` has them for
tuner's metrics. A saved network does not carry such a metric: only its study does."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.models.evaluations import Estimate
from tuner.models.resampling import Figures, Resampling
from tuner.preparation.kinds import Task

_Array = npt.NDArray[Any]
OwnFunction = Callable[[_Array, _Array], float]

# The function is called once for each: Python of the user's, which may take a while.
_RESAMPLES = 200


def own_figure(function: OwnFunction, outputs: _Array, y: _Array, task: Task) -> Estimate:
    """The metric's value. `outputs`, `y`: as `evaluate_outputs` takes them. Raises MetricError
    where the function fails."""
    predictions = _predictions(outputs, task)
    return _estimate(lambda rows: function(y[rows], predictions[rows]), len(y))


def own_difference(
    function: OwnFunction, outputs_a: _Array, outputs_b: _Array, y: _Array, task: Task
) -> Estimate:
    """The metric of network a less that of network b on the same rows, by a paired bootstrap."""
    a, b = (_predictions(each, task) for each in (outputs_a, outputs_b))
    return _estimate(lambda rows: function(y[rows], a[rows]) - function(y[rows], b[rows]), len(y))


def _estimate(statistic: Callable[[_Array], float], rows: int) -> Estimate:
    value = statistic(np.arange(rows))
    if not math.isfinite(value):
        return Estimate(None, None, None)
    plan = Resampling.plan(rows, 1, _RESAMPLES, seed=0)
    interval = plan.intervals(_figures(statistic), {"": value})[""]
    return Estimate(value, interval.low, interval.high)


def _figures(statistic: Callable[[_Array], float]) -> Figures:
    def figures(weights: _Array) -> dict[str, _Array]:
        rows = np.arange(weights.shape[1])
        drawn = (np.repeat(rows, counts) for counts in weights.astype(np.intp))
        return {"": np.array([statistic(each) for each in drawn], np.float64)}

    return figures


def _predictions(outputs: _Array, task: Task) -> _Array:
    return outputs if task == "classes" else outputs[:, 0]
