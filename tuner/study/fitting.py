"""Fits a search space to the data of a study, and chooses the study's objective.

What has no use for these data is left out; what the space insists on is refused.
"""

from collections.abc import Collection, Mapping
from typing import Any

from tuner.errors import SpecError
from tuner.search_space import Space
from tuner.search_space.parameter_types import DataNeed, format_value
from tuner.search_space.parameters import ALL_LOSSES, LOSSES, NETWORKS, catalogue
from tuner.study.messages import HeldOut
from tuner.study.metrics import Task, check_metric, metric_named, metrics_of, name_of
from tuner.values import Scalar, join_names


def fit_space(space: Space, task: Task, input_shape: Any, input_kind: str = "") -> Space:
    """The space without the parameters that these data have no use for. Raises SpecError for a
    network that needs other data, a loss of another task, and a parameter without use that can have
    no other value. `input_kind`: as `Dataset.input_kind`."""
    _check_network(space.network, input_shape, input_kind)
    _check_losses(space, task)
    unmet = _unmet_needs(task, input_shape, input_kind)
    fixed: dict[str, Scalar] = {}
    for name, parameter in catalogue(space.catalogue_key).items():
        if parameter.needs not in unmet:
            continue
        off = parameter.without_effect
        can_be_off, is_searched = space.takes(name, off), name in space.varying()
        if can_be_off and not is_searched:
            continue
        if not can_be_off and name in space.parameters:
            reason = unmet[parameter.needs]
            raise SpecError(
                f"{name} cannot apply: {reason}; leave it out, or let it be {format_value(off)}"
            )
        fixed[name] = off
    return space.override(fixed) if fixed else space


def _check_network(network: str, input_shape: Any, input_kind: str) -> None:
    kind = NETWORKS.get(network)
    if kind is not None and isinstance(input_shape, Mapping):
        raise SpecError(
            f"network {network} takes one input, the data have {len(input_shape)} "
            f"({join_names(input_shape)}); give a network of your own, --network my_file.py:build, "
            "or the data without names of inputs"
        )
    if kind is not None and input_kind not in kind.input_kinds:
        raise SpecError(
            f"network {network} cannot learn from numbers of words, whose size means nothing; "
            "leave --text tokens and --kind tokens out"
        )
    if kind is not None and not kind.accepts(input_shape, input_kind):
        raise SpecError(
            f"network {network} needs {kind.row_noun}, a row of these data has shape {input_shape}"
        )


def _check_losses(space: Space, task: Task) -> None:
    for loss in ALL_LOSSES:
        if not space.takes("loss", loss) or loss in LOSSES[task]:
            continue
        if task == "several":
            raise SpecError(
                f"loss {loss} is for one target; of several each has the loss of its task: leave "
                "loss out"
            )
        if loss not in LOSSES[task]:
            fitting = ", ".join(LOSSES[task])
            raise SpecError(f"loss {loss} does not fit {task}; there are: {fitting}")


# Why the targets of other tasks have no classes.
_NO_CLASSES: dict[Task, str] = {
    "regression": "the target is a number",
    "multilabel": "a row may have several labels",
    "several": "the data have several targets",
}


def _unmet_needs(task: Task, input_shape: Any, input_kind: str) -> dict[DataNeed | None, str]:
    """What parameters may need of the data and these lack, with the words for it."""
    unmet: dict[DataNeed | None, str] = {}
    if isinstance(input_shape, Mapping):
        unmet["images"] = "the data have several inputs"
    elif len(input_shape) < 2 or input_kind:
        unmet["images"] = "the data are no images"
    if input_kind != "tokens":
        unmet["words"] = "the data are no words as numbers (--text tokens)"
    if task in _NO_CLASSES:
        unmet["classes"] = _NO_CLASSES[task]
    return unmet


def incomparable_parameter(metric: str, space: Space, heads: Collection[str] = ()) -> str | None:
    """The searched parameter, if any, that gives this metric another meaning in each trial.
    `heads`: the names of several targets."""
    entry = metric_named(name_of(metric), heads)
    if entry is None or entry.name != "loss":
        return None
    parameters = catalogue(space.network)
    changing = (name for name in space.varying() if name in parameters)
    return next((name for name in changing if parameters[name].changes_loss), None)


def choose_objective(
    space: Space,
    task: Task,
    wanted: str | None,
    held_out: HeldOut = "val",
    own: Collection[str] = (),
    heads: Mapping[str, Task] | None = None,
) -> str:
    """The metric of a study: the wanted one, or the task's first that compares its trials rightly.
    Raises SpecError for one that does not. `own`: the names of the user's own metrics. `heads`:
    name → task of several targets."""
    metrics, heads = metrics_of(task, held_out, heads), heads or {}
    comparable = [each for each in metrics if not incomparable_parameter(each, space, heads)]
    if wanted is None:
        return comparable[0]
    check_metric(wanted, task, held_out, own, heads)
    cause = incomparable_parameter(wanted, space, heads)
    if cause:
        others = ", ".join(comparable)
        raise SpecError(
            f"{wanted} has another meaning in each trial, since {cause} is searched; take {others}"
        )
    return wanted
