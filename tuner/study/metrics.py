"""The metrics of a study: what trials report, and what can be the objective.

To add one: a line in METRICS. A metric with a `function` is computed on the host, from the
predictions for the split that is evaluated (its function is in prediction_metrics.py); one without
is a running sum in the compiled step (training/ops/losses.py).

On a split a metric has that split's prefix: `val_accuracy`, `test_accuracy`. A user's own metric is
named by its function: `val_profit` for `my_file.py:profit`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tuner.errors import SpecError
from tuner.search_space.parameter_types import format_value, sort_by_similarity
from tuner.study import weighted_metrics as weighted
from tuner.study.messages import Direction, HeldOut
from tuner.study.prediction_metrics import Task as Task
from tuner.study.prediction_metrics import (
    area_under_roc,
    average_precision,
    balanced_accuracy,
    cohen_kappa,
    f1,
    f1_macro,
    f1_micro,
    log_loss,
    mean_absolute_percentage_error,
    precision,
    r2,
    recall,
    top_5_accuracy,
)

# "share": a fraction, shown in percent. "target": in the units of the target. "": no unit.
Unit = Literal["share", "target", ""]
if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Truth = npt.NDArray[Any]
    Predictions = npt.NDArray[np.float32]
    Function = Callable[[Truth, Predictions, Task], float]
    OwnFunction = Callable[[Truth, Predictions], float]
    WeightedFunction = Callable[[weighted.WeightedRows], npt.NDArray[np.float64]]

TASKS: tuple[Task, ...] = ("classes", "binary", "regression", "multilabel", "several")
SPLITS: tuple[HeldOut, ...] = ("val", "test")
_CLASSES: tuple[Task, ...] = ("classes", "binary")
_NUMBERS: tuple[Task, ...] = ("regression",)
_LABELS: tuple[Task, ...] = ("multilabel",)


@dataclass(frozen=True)
class Metric:
    """`direction`: whether more or less of it is better. `tasks`: those that report it. `doc`: what
    it says, in a sentence.

    `function` takes the true targets, the predictions and the task. Its arguments are those of
    `compute`. None: training sums it up itself. `weighted`: the same for many weightings of the
    rows at once, for a bootstrap; None for one that has only a function, which is slower.

    `undefined`: for which targets of a split it has no value. `classes`: it needs more classes than
    this. `by_rows`: each row counts the same, so that a rare class hardly shows in it.
    """

    name: str
    direction: Direction
    tasks: tuple[Task, ...] = TASKS
    unit: Unit = ""
    function: Function | None = None
    weighted: WeightedFunction | None = None
    doc: str = ""
    undefined: Literal["one class", "no positives", "zeros"] | None = None
    classes: int = 0
    by_rows: bool = False


def _table(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


# In this order they are listed; the first of a task is its default objective.
# fmt: off
METRICS: dict[str, Metric] = _table(
    Metric("accuracy", "maximize", _CLASSES, "share", weighted=weighted.accuracy, by_rows=True,
           doc="The share of rows whose class is predicted."),
    Metric("loss", "minimize", weighted=weighted.loss, by_rows=True,
           doc="The loss that is trained on, with its regularisation."),
    Metric("mae", "minimize", _NUMBERS, "target", weighted=weighted.mae,
           doc="The mean absolute error."),
    Metric("rmse", "minimize", _NUMBERS, "target", weighted=weighted.rmse,
           doc="The root of the mean squared error: large errors count more."),
    Metric("auc", "maximize", _CLASSES, "", area_under_roc, weighted.auc, undefined="one class",
           doc="The area under the ROC curve: how well rows are ranked, at any threshold."),
    Metric("pr_auc", "maximize", _CLASSES, "", average_precision,
           weighted.pr_auc, undefined="no positives",
           doc="The area under the precision-recall curve, for a rare class."),
    Metric("f1", "maximize", _CLASSES, "share", f1, weighted.f1,
           doc="The harmonic mean of precision and recall."),
    Metric("precision", "maximize", _CLASSES, "share", precision, weighted.precision,
           doc="The share of right ones among the rows predicted as a class."),
    Metric("recall", "maximize", _CLASSES, "share", recall, weighted.recall,
           doc="The share of a class' rows that are found."),
    Metric("balanced_accuracy", "maximize", _CLASSES, "share", balanced_accuracy,
           weighted.balanced_accuracy,
           doc="The mean recall of all classes: each counts the same, however rare."),
    Metric("kappa", "maximize", _CLASSES, "", cohen_kappa, weighted.kappa, undefined="one class",
           doc="Cohen's kappa: the agreement beyond chance, 1 at best."),
    Metric("log_loss", "minimize", _CLASSES, "", log_loss, weighted.log_loss, by_rows=True,
           doc="The cross entropy of the probabilities alone: how far they can be trusted."),
    Metric("top_5_accuracy", "maximize", ("classes",), "share", top_5_accuracy,
           weighted.top_5_accuracy, classes=5,
           by_rows=True,
           doc="The share of rows whose class is among the five most probable."),
    Metric("f1_macro", "maximize", _LABELS, "share", f1_macro, weighted.f1_macro,
           doc="The mean F1 of all labels: each counts the same, however rare."),
    Metric("f1_micro", "maximize", _LABELS, "share", f1_micro, weighted.f1_micro,
           doc="F1 of all labels of all rows together: common labels count more."),
    Metric("subset_accuracy", "maximize", _LABELS, "share", weighted=weighted.accuracy,
           by_rows=True, doc="The share of rows of which all labels are right."),
    Metric("r2", "maximize", _NUMBERS, "", r2, weighted.r2,
           doc="The share of the target's variance that is explained, 1 at best."),
    Metric("mape", "minimize", _NUMBERS, "share", mean_absolute_percentage_error, weighted.mape,
           undefined="zeros",
           doc="The mean absolute error as a share of the target."),
)
# fmt: on


def compute(
    names: Iterable[str],
    y_true: Truth,
    predictions: Predictions,
    task: Task,
    own: Mapping[str, OwnFunction] | None = None,
    heads: Mapping[str, Task] | None = None,
) -> dict[str, float]:
    """The values of metrics that have a function, by name without a split's prefix. `own`: the
    user's own ones, which come first.

    `y_true`: (n,), classes as whole numbers from 0, or numbers in the units of the data.
    `predictions`: (n, k) probabilities for k classes; (n,) for two classes, the probability of
    the second; (n,) for regression, in the units of the data. (n, k) for k values or labels. Where
    there are several `heads` (name → task) both are dicts, and metrics are named HEAD_METRIC.

    All values are NaN where a prediction is not finite: the trial has diverged. Raises MetricError
    where a metric of the user's own fails.
    """
    functions = _functions(names, task, own or {}, heads or {})
    if not are_finite(predictions):
        return dict.fromkeys(functions, float("nan"))
    return {name: function(y_true, predictions) for name, function in functions.items()}


def are_finite(predictions: Any) -> bool:
    """Whether all predictions, of several heads by name, are finite."""
    import numpy as np  # here: whoever only lists studies needs no arrays

    parts = predictions.values() if isinstance(predictions, dict) else [predictions]
    return all(bool(np.isfinite(part).all()) for part in parts)


def _functions(
    names: Iterable[str], task: Task, own: Mapping[str, OwnFunction], heads: Mapping[str, Task]
) -> dict[str, OwnFunction]:
    functions: dict[str, OwnFunction] = {}
    for name in names:
        if name in own:
            functions[name] = own[name]
        elif (metric := metric_named(name, heads)) is not None and metric.function is not None:
            head = head_of(name, heads)
            functions[name] = (
                _for_task(metric.function, task)
                if head is None
                else _for_head(metric.function, head, heads)
            )
    return functions


def _for_task(function: Function, task: Task) -> OwnFunction:
    return lambda y_true, predictions: function(y_true, predictions, task)


def _for_head(function: Function, head: str, heads: Mapping[str, Task]) -> OwnFunction:
    def of_head(y_true: Any, predictions: Any) -> float:
        return function(y_true[head], predictions[head], heads[head])

    return of_head


def metric_named(name: str, heads: Collection[str] = ()) -> Metric | None:
    """The metric of a name without a split's prefix: `mae`, or `price_mae` where price is one of
    the heads. None for a name that is none, such as that of a user's own."""
    head = head_of(name, heads)
    return METRICS.get(name if head is None else name.removeprefix(f"{head}_"))


def head_of(name: str, heads: Collection[str]) -> str | None:
    """The head that a metric such as price_mae is of; None for one of all heads."""
    of_heads = (h for h in heads if name.startswith(f"{h}_") and name[len(h) + 1 :] in METRICS)
    return next(of_heads, None)


def name_of(objective: str) -> str:
    """`auc` of `val_auc`: the name without a split's prefix."""
    split, _, name = objective.partition("_")
    return name if split in SPLITS else objective


def has_function(name: str, heads: Collection[str] = ()) -> bool:
    """Whether the metric is computed from predictions. `name`: without a split's prefix."""
    metric = metric_named(name, heads)
    return metric is not None and metric.function is not None


def host_metrics(
    *objectives: str, own: Collection[str] = (), heads: Collection[str] = ()
) -> tuple[str, ...]:
    """What a trial's host must compute for these objectives and recorded metrics, without the
    split's prefix. `own`: the names of the user's own metrics."""
    names = dict.fromkeys(map(name_of, objectives))
    return tuple(name for name in names if name in own or has_function(name, heads))


def metric_of(objective: str, heads: Collection[str] = ()) -> Metric:
    """The metric of an objective such as `val_accuracy`. Raises SpecError for an unknown one."""
    name = name_of(objective)
    metric = metric_named(name, heads)
    if name != objective and metric is not None:
        return metric
    objectives = [f"{split}_{name}" for split in SPLITS for name in METRICS]
    raise _unknown_metric(objective, objectives)


def _unknown_metric(objective: str, objectives: Iterable[str], where: str = "") -> SpecError:
    choices = ", ".join(sort_by_similarity(objective, objectives))
    return SpecError(f"unknown metric {format_value(objective)}{where}; there are: {choices}")


def metrics_of(
    task: Task, held_out: HeldOut = "val", heads: Mapping[str, Task] | None = None
) -> list[str]:
    """The objectives that a study of this task can have; the first is the default. `heads`: of a
    study with several, name → task."""
    of_all = [f"{held_out}_{metric.name}" for metric in METRICS.values() if task in metric.tasks]
    of_heads = [
        f"{held_out}_{head}_{metric.name}"
        for head, task_of_head in (heads or {}).items()
        for metric in METRICS.values()
        if task_of_head in metric.tasks
    ]
    return of_all + of_heads


def on_split(objective: str, held_out: HeldOut) -> str:
    """`val_loss` or `test_loss` as the objective on that split."""
    return f"{held_out}_{name_of(objective)}"


def check_metric(
    objective: str,
    task: Task,
    held_out: HeldOut = "val",
    own: Collection[str] = (),
    heads: Mapping[str, Task] | None = None,
) -> None:
    """Raises SpecError for a metric that training of this task does not report. `own`: the names of
    the user's own metrics. `heads`: as of `metrics_of`."""
    objectives = metrics_of(task, held_out, heads) + [f"{held_out}_{name}" for name in own]
    if objective not in objectives:
        error = _unknown_metric(objective, objectives, f" for {task}")
        other = METRICS.get(name_of(objective))
        if other is not None and objective == f"{held_out}_{other.name}":
            error = SpecError(f"{error}; {objective} is for {' and '.join(other.tasks)} (--task)")
        raise error


def direction_of(objective: str, heads: Collection[str] = ()) -> Direction:
    """Whether more or less of it is better. Raises SpecError for an unknown metric."""
    return metric_of(objective, heads).direction


def ask_direction(metric: str) -> str:
    """What to say of a metric that tuner does not know."""
    return (
        f"{metric}: is more of it better, or less? Say --direction maximize or --direction minimize"
    )


def is_share(objective: str, heads: Collection[str] = ()) -> bool:
    """Whether its values are shown in percent. A user's own metric has no unit."""
    metric = metric_named(name_of(objective), heads)
    return metric is not None and metric.unit == "share"


def check_has_values(
    objective: str,
    task: Task,
    y: Truth,
    *,
    classes: int,
    held_out: HeldOut,
    heads: Collection[str] = (),
) -> None:
    """Raises SpecError for a metric that says nothing, or has no value, on these targets `y` of the
    split that is held out. `classes`: how many the data have. Of several `heads`: those of the one
    that the metric is of."""
    metric = metric_named(name_of(objective), heads)
    if metric is None:
        return
    if task == "classes" and classes <= metric.classes:
        raise SpecError(f"{objective} is always 1 for {classes} classes; choose another metric")
    split = "validation" if held_out == "val" else "test"
    if metric.undefined == "zeros" and (zeros := int((y == 0).sum())):
        raise SpecError(
            f"{objective} has no value: {zeros} of {len(y)} targets of the {split} split are 0, "
            f"and no error is a share of 0; take {held_out}_mae or {held_out}_rmse"
        )
    has_one_class = metric.undefined == "one class" and y.min() == y.max()
    if has_one_class or (metric.undefined == "no positives" and task == "binary" and not y.any()):
        raise SpecError(
            f"{objective} has no value: all {len(y)} rows of the {split} split have one class; "
            f"choose another metric, or a larger split (--{split})"
        )


class MetricEntry(NamedTuple):
    """A metric as `tuner metrics` lists it. `tasks`: "all tasks", or their names."""

    tasks: str
    metric: str
    direction: Direction
    unit: Unit
    meaning: str


def metric_entries(task: Task | None = None) -> list[MetricEntry]:
    """All metrics, or those of a task, as objectives of a search."""
    return [
        MetricEntry(
            "all tasks" if metric.tasks == TASKS else " and ".join(metric.tasks),
            f"val_{metric.name}",
            metric.direction,
            metric.unit,
            metric.doc,
        )
        for metric in METRICS.values()
        if task is None or task in metric.tasks
    ]
