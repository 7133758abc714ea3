"""Figures of a user's own metric for known rows, with intervals, as `evaluations` has them for
tuner's metrics. A saved network does not carry such a metric: only its study does."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.models.evaluations import Estimate, predictions_of
from tuner.models.resampling import Resampling, of_repeated_rows
from tuner.preparation.kinds import Task
from tuner.preparation.predictions import count_rows

_Array = npt.NDArray[Any]
OwnFunction = Callable[[Any, Any], float]

# The function is called once for each: Python of the user's, which may take a while.
_RESAMPLES = 200


def own_figure(
    function: OwnFunction, outputs: Any, y: Any, task: Task, heads: Mapping[str, Task] | None = None
) -> Estimate:
    """The metric's value. `outputs`, `y`: as `evaluate_outputs` takes them; `heads`: of several,
    name → task. Raises MetricError where the function fails."""
    predictions = predictions_of(outputs, y, task, heads)
    return _estimate(lambda rows: function(_at(y, rows), _at(predictions, rows)), count_rows(y))


def own_difference(
    function: OwnFunction,
    outputs_a: Any,
    outputs_b: Any,
    y: Any,
    task: Task,
    heads: Mapping[str, Task] | None = None,
) -> Estimate:
    """The metric of network a less that of network b on the same rows, by a paired bootstrap."""
    a, b = (predictions_of(each, y, task, heads) for each in (outputs_a, outputs_b))

    def gap(rows: _Array) -> float:
        truth = _at(y, rows)
        return function(truth, _at(a, rows)) - function(truth, _at(b, rows))

    return _estimate(gap, count_rows(y))


def _at(values: Any, rows: _Array) -> Any:
    """Rows by number, of an array or of arrays by name."""
    if isinstance(values, Mapping):
        return {name: of_head[rows] for name, of_head in values.items()}
    return values[rows]


def _estimate(statistic: Callable[[_Array], float], rows: int) -> Estimate:
    value = statistic(np.arange(rows))
    if not math.isfinite(value):
        return Estimate(None, None, None)
    plan = Resampling.plan(rows, 1, _RESAMPLES, seed=0)
    own = plan.intervals(lambda weights: {"": of_repeated_rows(statistic, weights)}, {"": value})
    return Estimate(value, own[""].low, own[""].high)
