"""The metrics that a study is asked for: its objective and what it records, by name or as a user's
own `my_file.py:function`, which is tried before the study is created."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tuner.data import Dataset
from tuner.errors import MetricError
from tuner.study.messages import Direction, FunctionCode, HeldOut
from tuner.study.metrics import METRICS, check_has_values
from tuner.study.own_metrics import OwnMetric
from tuner.study.spec import OwnMetricSpec, StudySpec
from tuner.system.logs import python_output_only


@dataclass(frozen=True)
class WantedMetrics:
    """`objective`: None for the task's default. `record`: without it and without duplicates. `own`:
    the user's own ones, by name."""

    objective: str | None
    record: tuple[str, ...] = ()
    own: Mapping[str, OwnMetricSpec] = field(default_factory=dict)


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
    recorded = [_name(text, held_out, None, own) for text in record]
    objective = None
    if metric is not None:
        objective = _name(metric, held_out, direction, own)
        if objective != metric and direction is None:
            raise MetricError(
                f"{metric}: is more of it better, or less? Say --direction maximize or "
                "--direction minimize"
            )
    record_once = tuple(name for name in dict.fromkeys(recorded) if name != objective)
    return WantedMetrics(objective, record_once, own)


def _name(
    text: str, held_out: HeldOut, direction: Direction | None, own: dict[str, OwnMetricSpec]
) -> str:
    """The name of a metric as a study has it. One of the user's own is added to `own`."""
    path, colon, function = text.rpartition(":")
    if not colon and not text.endswith(".py"):
        return text
    if not path or not function.isidentifier():
        file = path or text.strip(":")
        raise MetricError(f"{text}: name a metric of your own as {file}:FUNCTION")
    if function in METRICS:
        raise MetricError(
            f"{text}: {function} is the name of a metric of tuner; rename the function, or take "
            f"{held_out}_{function}"
        )
    known = own.get(function)
    if known is not None and known.path != path:
        raise MetricError(f"{text}: {known} has this name too; rename one of the functions")
    own[function] = OwnMetricSpec(path=path, function=function, direction=direction)
    return f"{held_out}_{function}"


def check_metrics(spec: StudySpec, dataset: Dataset) -> None:
    """Check that the study's metrics of tuner have values on the data: what a comparison records
    may have none on the test split. Raises SpecError."""
    y = _targets(spec, dataset)
    for objective in (spec.metric, *(spec.record if spec.selects else ())):
        check_has_values(
            objective, spec.task, y, classes=len(dataset.labels), held_out=spec.held_out
        )


def try_own_metrics(
    functions: Mapping[str, FunctionCode], spec: StudySpec, dataset: Dataset
) -> None:
    """Call the user's own metrics once, on the study's targets and made-up predictions. Raises
    MetricError."""
    y = _targets(spec, dataset)
    with python_output_only():
        for code in functions.values():
            OwnMetric(code).check(y, spec.task, len(dataset.labels))


def _targets(spec: StudySpec, dataset: Dataset) -> npt.NDArray[np.int32] | npt.NDArray[np.floating]:
    """The targets that trials are evaluated on, in the units of the data."""
    split = dataset.validation if spec.held_out == "val" else dataset.test
    if dataset.target_shift:
        return np.asarray(split.y + np.float64(dataset.target_shift))
    return split.y
