"""When a search stops: limits and reasons, without running any."""

from itertools import product

import pytest

from tuner.errors import UsageError
from tuner.runner.stopping import MOST_FAILURES, Limits, Stopping
from tuner.study.ends import StopReason


def test_failures_in_a_row_stop_it() -> None:
    stopping = Stopping(Limits(9))
    for _ in range(MOST_FAILURES - 1):
        stopping.trial_failed()
    stopping.trial_done(is_best=False, reaches_target=False)  # not in a row any more
    for _ in range(MOST_FAILURES - 1):
        stopping.trial_failed()
    assert not stopping.no_more
    stopping.trial_failed()
    assert (stopping.reason, stopping.at_once) == (StopReason.ERRORS, True)


def test_patience_counts_trials_without_a_new_best() -> None:
    stopping = Stopping(Limits(9, patience_trials=2))
    for is_best in (False, True, False):
        stopping.trial_done(is_best, reaches_target=False)
    assert not stopping.no_more
    stopping.trial_done(is_best=False, reaches_target=False)
    assert (stopping.reason, stopping.at_once) == (StopReason.PATIENCE, False)


def test_a_target_is_more_than_patience() -> None:
    stopping = Stopping(Limits(9, patience_trials=1, target=0.5))
    stopping.trial_done(is_best=False, reaches_target=False)
    stopping.trial_done(is_best=True, reaches_target=True)
    assert stopping.reason is StopReason.TARGET


@pytest.mark.parametrize(("first", "second"), product(StopReason, StopReason))
def test_the_more_pressing_reason_stays(first: StopReason, second: StopReason) -> None:
    stopping = Stopping(Limits(9))
    stopping.stop(first)
    stopping.stop(second)
    pressing = (StopReason.ERRORS, StopReason.DELETED)
    lets_end = (StopReason.PATIENCE, StopReason.SURE, StopReason.EXHAUSTED)
    replaces = second in pressing or (first in lets_end and second not in lets_end)
    assert stopping.reason is (second if replaces else first)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"trials": None, "more": None}, "say how many trials"),
        ({"trials": 1, "more": 1}, "say how many trials"),
        ({"trials": 0}, "--trials must be between 1 and"),
        ({"workers": 0}, "--workers must be between 1 and"),
        ({"lanes": 65}, "--lanes must be between 1 and 64, got 65"),
        ({"target": float("nan")}, "--target must be a finite number, got nan"),
    ],
)
def test_numbers_out_of_range_are_refused(limits: dict[str, float], message: str) -> None:
    asked = {"trials": 1, "more": None, "workers": None, "patience_trials": None, "target": None}
    with pytest.raises(UsageError, match=message):
        Limits.check(**asked | limits)  # type: ignore[arg-type]
