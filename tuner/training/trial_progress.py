"""What all ways of training share: when a trial ends by itself, and which of its epochs is best."""

import math
from collections.abc import Mapping

from tuner.search_space.parameter_types import read_whole
from tuner.study.ends import TrialEnd
from tuner.study.messages import TrialRequest
from tuner.training.checkpoints import Progress


def end_after_epoch(request: TrialRequest, progress: Progress) -> TrialEnd | None:
    """How training ends with the current epoch, if it does."""
    epoch, best_epoch = progress.epoch, progress.best_epoch or 0
    if request.goal.reached(progress.best):
        return TrialEnd.TARGET
    if epoch == request.ends_after:
        return TrialEnd.COMPLETE
    if request.held_out == "test" or request.last_epoch is not None:
        return None
    stops = epoch - best_epoch >= read_whole(request.params, "patience")
    return TrialEnd.EARLY_STOPPED if stops else None


def record_epoch(
    request: TrialRequest, progress: Progress, epoch: int, value: float | None
) -> bool:
    """A whole epoch is over; `value` is the objective's, None if it was not evaluated. Whether its
    weights are the best so far: where the test split is held out, nothing is selected."""
    progress.epoch = epoch
    if value is None:
        return False
    progress.values.append(value)
    selects = request.held_out != "test"
    if selects and not request.goal.better(value, progress.best):
        return False
    progress.best, progress.best_epoch = value, epoch
    return selects


def all_finite(metrics: Mapping[str, float]) -> bool:
    return all(math.isfinite(value) for value in metrics.values())
