"""The metrics of a study: what trials report, and what can be the objective.

To add one: a line in METRICS. A metric with a `function` is computed on the host, from the
predictions for the split that is evaluated; one without is a running sum in the compiled step
(training/ops/losses.py).

On a split a metric has that split's prefix: `val_accuracy`, `test_accuracy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tuner.errors import SpecError
from tuner.study.messages import Direction, HeldOut

Task = Literal["classes", "binary", "regression"]
# "share": between 0 and 1, shown in percent. "target": in the units of the target. "": no unit.
Unit = Literal["share", "target", ""]
if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Function = Callable[[npt.NDArray[Any], npt.NDArray[np.float32], Task], float]

TASKS: tuple[Task, ...] = ("classes", "binary", "regression")
SPLITS: tuple[HeldOut, ...] = ("val", "test")


@dataclass(frozen=True)
class Metric:
    """`direction`: whether more or less of it is better. `tasks`: those that report it.

    `function` takes the true targets, the predictions and the task. Its arguments are those of
    `compute`. None: training sums it up itself.
    """

    name: str
    direction: Direction
    tasks: tuple[Task, ...] = TASKS
    unit: Unit = ""
    function: Function | None = None


def _f1(y_true: npt.NDArray[Any], predictions: npt.NDArray[np.float32], task: Task) -> float:
    """The F1 score of the positive class; of several classes the mean over them (macro)."""
    from sklearn.metrics import f1_score  # here, because this import takes a second

    average = "binary" if task == "binary" else "macro"
    labels = _predicted_labels(predictions, task)
    return float(f1_score(y_true, labels, average=average, zero_division=0.0))


def _predicted_labels(predictions: npt.NDArray[np.float32], task: Task) -> npt.NDArray[Any]:
    return (predictions > 0.5).astype("int32") if task == "binary" else predictions.argmax(axis=-1)


# In this order they are listed; the first of a task is its default objective.
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "maximize", ("classes", "binary"), "share"),
        Metric("loss", "minimize"),
        Metric("mae", "minimize", ("regression",), "target"),
        Metric("rmse", "minimize", ("regression",), "target"),
        Metric("f1", "maximize", ("classes", "binary"), "share", _f1),
    )
}


def compute(
    names: Iterable[str],
    y_true: npt.NDArray[Any],
    predictions: npt.NDArray[np.float32],
    task: Task,
) -> dict[str, float]:
    """The values of metrics that have a function, by name without a split's prefix.

    `y_true`: (n,), classes as whole numbers from 0, or numbers in the units of the data.
    `predictions`: (n, k) probabilities for k classes; (n,) for two classes, the probability of
    the second; (n,) for regression, in the units of the data.

    A value is NaN where a prediction is not finite: the trial has diverged.
    """
    functions = {name: METRICS[name].function for name in names}
    import numpy as np  # here, because every command imports this module

    is_finite = bool(np.isfinite(predictions).all())
    return {
        name: function(y_true, predictions, task) if is_finite else float("nan")
        for name, function in functions.items()
        if function is not None
    }


def host_metrics(objective: str) -> tuple[str, ...]:
    """What a trial's host must compute for an objective, without the split's prefix."""
    name = metric_of(objective).name
    return () if METRICS[name].function is None else (name,)


def metric_of(objective: str) -> Metric:
    """The metric of an objective such as `val_accuracy`. Raises SpecError for an unknown one."""
    split, _, name = objective.partition("_")
    if split in SPLITS and name in METRICS:
        return METRICS[name]
    objectives = [f"{split}_{name}" for split in SPLITS for name in METRICS]
    raise _unknown_metric(objective, objectives)


def _unknown_metric(objective: str, objectives: Iterable[str], where: str = "") -> SpecError:
    # Here: the help of commands names the metrics, and needs no search space.
    from tuner.search_space.parameter_types import format_value, sort_by_similarity

    choices = ", ".join(sort_by_similarity(objective, objectives))
    return SpecError(f"unknown metric {format_value(objective)}{where}; there are: {choices}")


def metrics_of(task: Task, held_out: HeldOut = "val") -> list[str]:
    """The objectives that a study of this task can have; the first is the default."""
    return [f"{held_out}_{metric.name}" for metric in METRICS.values() if task in metric.tasks]


def on_split(objective: str, held_out: HeldOut) -> str:
    """`val_loss` or `test_loss` as the objective on that split."""
    return f"{held_out}_{objective.partition('_')[2]}"


def check_metric(objective: str, task: Task, held_out: HeldOut = "val") -> None:
    """Raises SpecError for a metric that training of this task does not report."""
    objectives = metrics_of(task, held_out)
    if objective not in objectives:
        raise _unknown_metric(objective, objectives, f" for {task}")


def direction_of(objective: str) -> Direction:
    """Whether more or less of it is better. Raises SpecError for an unknown metric."""
    return metric_of(objective).direction
