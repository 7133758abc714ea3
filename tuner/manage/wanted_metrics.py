"""The metrics that a study is asked for: its objective and what it records, by name or as a user's
own `my_file.py:function`, which is tried before the study is created."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.data import Dataset
from tuner.data.dataset import TargetPart
from tuner.data.preparing import given_targets
from tuner.errors import MetricError
from tuner.settings import quiet_tensorflow
from tuner.study.messages import Direction, FunctionCode, HeldOut
from tuner.study.metrics import (
    METRICS,
    ask_direction,
    check_has_values,
    direction_of,
    head_of,
    name_of,
)
from tuner.study.own_metrics import OwnMetric
from tuner.study.spec import OwnMetricSpec, StudySpec
from tuner.system.redirecting import python_output_only


@dataclass(frozen=True)
class WantedMetrics:
    """`objective`: None for the task's default. `record`: further ones. `own`: the user's own ones
    among them, by name."""

    objective: str | None
    record: tuple[str, ...]
    own: dict[str, OwnMetricSpec]

    @property
    def paths(self) -> list[str]:
        """The files of the user's own ones."""
        return [metric.path for metric in self.own.values()]

    def recorded(self, objective: str) -> tuple[str, ...]:
        """The further metrics, once each, of a study with this objective."""
        return tuple(name for name in dict.fromkeys(self.record) if name != objective)

    def direction(self, objective: str, heads: Collection[str] = ()) -> Direction:
        """Whether more or less of an objective is better. Raises SpecError if it is unknown."""
        own = self.own.get(name_of(objective))
        return (
            direction_of(objective, heads)
            if own is None or own.direction is None
            else own.direction
        )


def read_metrics(
    metric: str | None,
    record: Iterable[str],
    direction: Direction | None,
    held_out: HeldOut,
    stored: Mapping[str, OwnMetricSpec],
) -> WantedMetrics:
    """Metrics as they were asked for, each by its name ("val_auc") or as "my_file.py:function".
    `direction`: of the objective. `stored`: own metrics that are known by name, of a study whose
    trial is compared. Raises MetricError."""
    own = dict(stored)
    recorded = tuple(_name(text, held_out, None, own) for text in record)
    objective = None
    if metric is not None:
        objective = _name(metric, held_out, direction, own)
        if objective != metric and direction is None:
            raise MetricError(ask_direction(metric))
    return WantedMetrics(objective, recorded, own)


def _name(
    text: str, held_out: HeldOut, direction: Direction | None, own: dict[str, OwnMetricSpec]
) -> str:
    """The name of a metric as a study has it. One of the user's own is added to `own`."""
    path, colon, function = text.rpartition(":")
    if not colon and not text.endswith(".py"):
        return text
    if not path or not function.isidentifier():
        # Without a colon it is a file, with nothing before the colon a function.
        known = f"{path or 'my_file.py'}:FUNCTION" if colon else f"{text}:FUNCTION"
        raise MetricError(f"{text}: name a metric of your own as {known}")
    if function in METRICS:
        raise MetricError(
            f"{text}: {function} is the name of a metric of tuner; rename the function, or take "
            f"{held_out}_{function}"
        )
    other = own.get(function)
    if other is not None and other.path != path:
        raise MetricError(f"{text}: {other} has this name too; rename one of the functions")
    own[function] = OwnMetricSpec(path=path, function=function, direction=direction)
    return f"{held_out}_{function}"


def check_metrics(spec: StudySpec, dataset: Dataset, functions: Mapping[str, FunctionCode]) -> None:
    """Check that the study's metrics have values on the data: what a comparison records may have
    none on the test split. The user's own `functions` are called once, with made-up predictions.
    Raises SpecError, MetricError for the user's own."""
    split = dataset.validation if spec.held_out == "val" else dataset.test
    y = given_targets(dataset, split)
    targets = {target.name: target for target in dataset.heads}
    for objective in (spec.metric, *(spec.record if spec.selects else ())):
        head = head_of(name_of(objective), spec.heads)
        target = dataset.targets[0] if head is None else targets[head]
        if head is not None or not dataset.heads:
            _check_has_values(objective, target, y if head is None else y[head], spec)
    if functions:
        quiet_tensorflow()  # a file may import it
        with python_output_only():
            for code in functions.values():
                of_heads = {t.name: (t.task, len(t.labels)) for t in dataset.heads}
                OwnMetric(code).check(y, dataset.task, len(dataset.labels), of_heads)


def _check_has_values(objective: str, target: TargetPart, y: Any, spec: StudySpec) -> None:
    """`y`: the targets of one head, or the only ones."""
    check_has_values(
        objective, target.task, y, classes=len(target.labels), held_out=spec.held_out,
        heads=spec.heads,
    )  # fmt: skip
