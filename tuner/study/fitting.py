"""A search space made to fit the data of a study: what cannot apply to them is left out, or refused
where the space leaves no choice."""

from collections.abc import Iterator

from tuner.errors import SpecError
from tuner.search_space import Space
from tuner.search_space.parameter_types import format_value
from tuner.search_space.parameters import ALL_LOSSES, LOSSES
from tuner.study.messages import HeldOut
from tuner.study.metrics import Task, check_metric, metrics_of
from tuner.values import Scalar

# A loss of another meaning in each trial is no objective.
_OF_LOSS = ("loss", "huber_delta", "label_smoothing", "l1", "l2")


def fitted(space: Space, task: Task, input_shape: tuple[int, ...]) -> Space:
    """The space without what these data have no use for. Raises SpecError for a loss of another
    task, convolutions over tables, and a parameter without use that can have no other value."""
    if space.network == "cnn" and len(input_shape) not in (2, 3):
        raise SpecError(f"network cnn needs images, a row of these data has shape {input_shape}")
    for loss in ALL_LOSSES:
        if space.takes("loss", loss) and loss not in LOSSES[task]:
            known = ", ".join(LOSSES[task])
            raise SpecError(f"loss {loss} does not fit {task}; there are: {known}")
    fixed = {}
    for name, off, why in _without_use(task, input_shape):
        can_be_off, searched = space.takes(name, off), name in space.varying()
        if can_be_off and not searched:
            continue
        if not can_be_off and name in space.parameters:
            raise SpecError(
                f"{name} cannot apply: {why}; leave it out, or let it be {format_value(off)}"
            )
        fixed[name] = off
    return space.override(fixed) if fixed else space


def _without_use(task: Task, input_shape: tuple[int, ...]) -> Iterator[tuple[str, Scalar, str]]:
    if len(input_shape) < 2:
        yield "augment_flip", False, "the data are no images"
        yield "augment_shift", 0, "the data are no images"
    if task == "regression":
        yield "label_smoothing", 0.0, "the target is a number"


def incomparable(metric: str, space: Space) -> str | None:
    """The searched parameter, if any, that gives this metric another meaning in each trial."""
    if not metric.endswith("_loss"):
        return None
    return next((name for name in space.varying() if name in _OF_LOSS), None)


def objective(space: Space, task: Task, wanted: str | None, held_out: HeldOut = "val") -> str:
    """The metric of a study: the wanted one, or the task's first that compares its trials rightly.
    Raises SpecError for one that does not."""
    metrics = metrics_of(task, held_out)
    if wanted is None:
        return next(metric for metric in metrics if not incomparable(metric, space))
    check_metric(wanted, task, held_out)
    cause = incomparable(wanted, space)
    if cause:
        others = ", ".join(m for m in metrics if not incomparable(m, space))
        raise SpecError(
            f"{wanted} has another meaning in each trial, since {cause} is searched; take {others}"
        )
    return wanted
