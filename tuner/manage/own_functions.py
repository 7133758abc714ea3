"""What kind a study's own function is, and what a study needs that is trained by one."""

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tuner.errors import MetricError, NetworkError, SpecError, StudyError
from tuner.manage.trust import find_code
from tuner.search_space import Space
from tuner.search_space.function_kinds import FunctionKind, kind_of_function
from tuner.settings import Settings
from tuner.study.messages import Direction
from tuner.study.metrics import METRICS, SPLITS, ask_direction, name_of
from tuner.study.spec import DataSpec, FurtherObjective, StudySpec

# What an objective of Optuna's is called that has no name, and where it goes unless it is said.
_VALUE = "value"
_OPTUNAS_DIRECTION: Direction = "minimize"


def with_kind(space: Space, settings: Settings, subject: StudySpec | None = None) -> Space:
    """The space with its own function as the kind that its file shows; `subject`: the study whose
    stored function it is. Raises NetworkError for a function that fits no kind, SpaceError for
    parameters that this kind cannot have."""
    path, is_own, function = space.network.rpartition(":")
    if not is_own:
        return space
    if subject is not None and path in subject.code:
        return space.of_kind(subject.function_kind)
    try:
        text = (find_code(path, settings) or Path(path)).read_text(encoding="utf-8")
    except OSError as error:
        raise NetworkError(f"{path}: {error.strerror or error}") from error
    except ValueError:
        return space  # no text: whoever stores the file says so
    _check_syntax(text, path)
    return space.of_kind(kind_of_function(text, function, space.network))


def _check_syntax(text: str, path: str) -> None:
    """Raises NetworkError for a text that is no Python: it shows no kind."""
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise NetworkError(f"{path}:{error.lineno or 1}: SyntaxError: {error.msg}") from error
    except (ValueError, RecursionError):
        return  # running the file will say what is wrong


def describe_kind(space: Space) -> str:
    """A line for the user, "" for a network that `build` makes."""
    kind = space.function_kind
    if kind is FunctionKind.BUILD:
        return ""
    same = kind is FunctionKind.TRAIN and not space.varying()
    note = "; the space has no ranges, so all trials have the same parameters" if same else ""
    return f"{space.network} {kind.form}{note}"


def check_function(space: Space, *, has_data: bool, has_patience: bool) -> None:
    """Refuse what a user's own function cannot have, and the lack of what it needs. Raises
    SpecError."""
    network, kind = space.network, space.function_kind
    if kind.trains and has_patience:
        raise SpecError(f"patience: {network} trains by itself, and stops early by itself")
    if ":" in network and not kind.trains and not has_data:
        raise SpecError(f"{network} {kind.form}; say which data it trains on: --data SOURCE")


def check_function_space(space: Space) -> None:
    """Raises SpecError where a function that asks for its parameters is given ranges, or an Optuna
    objective any parameter."""
    if space.function_kind is FunctionKind.OBJECTIVE and space.parameters:
        raise SpecError(
            f"{space.network} asks for its parameters itself: {', '.join(space.parameters)} would "
            "have no effect; leave this out"
        )
    varying = space.varying() if space.function_kind.defines_space else []
    if varying:
        raise SpecError(
            f"{space.network} asks for its parameters itself: the space must have no ranges, it "
            f"has {', '.join(varying)}"
        )


def check_trained_by_tuner(spec: StudySpec, doing: str) -> None:
    """Raises StudyError for `doing` what tuner does only with networks that it trains itself."""
    if spec.function_kind.trains:
        raise StudyError(
            f"{doing}: {spec.space.network} trains by itself, and tuner {doing}s only what it "
            "trains itself, since it knows the test split"
        )


def check_no_data(data: DataSpec, network: str) -> None:
    """Raises SpecError for options that say how data are read, where there are none."""
    plain = DataSpec(seed=data.seed)
    for name in DataSpec.model_fields:
        if getattr(data, name) != getattr(plain, name):
            raise SpecError(
                f"{name}: {network} trains by itself and the study has no data to read; leave "
                "this out, or give it data: --data SOURCE"
            )


class ChosenObjectives(NamedTuple):
    """What trials are scored by, and what else they report that is kept. `further`: the objectives
    after the first."""

    metric: str
    direction: Direction
    record: tuple[str, ...]
    further: tuple[FurtherObjective, ...] = ()


def returned_objectives(
    space: Space, metric: str | None, directions: Sequence[Direction], record: Iterable[str]
) -> ChosenObjectives:
    """The objectives of an Optuna objective that returns several values: one for each direction.
    `metric`: their names with commas between, None for value_0, value_1 and so on. Raises
    MetricError where their number differs, SpecError for a function that returns one value."""
    if space.function_kind is not FunctionKind.OBJECTIVE:
        what = describe_kind(space) or f"{space.network} has one"
        raise SpecError(
            "several directions need Optuna's objective(trial), which returns a value for each; "
            f"{what}"
        )
    names = [name.strip() for name in (metric or "").split(",") if name.strip()]
    if not names:
        names = [f"{_VALUE}_{number}" for number in range(len(directions))]
    if len(names) != len(directions) or len(set(names)) < len(names):
        raise MetricError(
            f"--metric {metric}: {len(directions)} directions need as many names, all different, "
            "such as --metric loss,size"
        )
    if recorded := tuple(record):
        raise MetricError(f"--record {recorded[0]}: with several objectives nothing is reported")
    first, *others = (
        reported_objective(space, name, direction, ())
        for name, direction in zip(names, directions, strict=True)
    )
    further = [FurtherObjective(metric=it.metric, direction=it.direction) for it in others]
    return first._replace(further=tuple(further))


def reported_objective(
    space: Space, metric: str | None, direction: Direction | None, record: Iterable[str]
) -> ChosenObjectives:
    """The objective of a function that trains by itself: any name that it reports. Raises
    MetricError where the name or the direction is missing."""
    network, is_optunas = space.network, space.function_kind is FunctionKind.OBJECTIVE
    if metric is None and not is_optunas:
        raise MetricError(
            f"{network} trains by itself: name the objective that it reports, such as --metric "
            "val_auc --direction maximize"
        )
    names = [metric or _VALUE, *record]
    for name in names:
        if not name.isidentifier():
            raise MetricError(
                f"{name}: {network} reports its metrics itself: name one of them, such as val_auc"
            )
    tuner_metric = METRICS.get(name_of(names[0])) if names[0].startswith(SPLITS) else None
    if direction is None and tuner_metric is not None:
        direction = tuner_metric.direction
    if direction is None and is_optunas:
        direction = _OPTUNAS_DIRECTION
    if direction is None:
        raise MetricError(ask_direction(names[0]))
    return ChosenObjectives(names[0], direction, tuple(dict.fromkeys(names[1:])))
