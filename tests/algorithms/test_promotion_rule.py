"""The rule of pause and promote: who is paused at a rung, and who goes on."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.algorithms.promotion import PromotionRule, promotion_rungs


def test_rungs_grow_by_the_factor_and_leave_out_the_last_step() -> None:
    assert promotion_rungs(1, 3, 27) == [1, 3, 9]
    assert promotion_rungs(2, 4, 33) == [2, 8, 32]
    assert promotion_rungs(5, 3, 5) == []


def test_the_first_trial_goes_on_and_of_three_the_best() -> None:
    rule = PromotionRule([1, 3, 9], 3, maximize=True)
    values = {0: 0.5, 1: 0.7, 2: 0.6}
    pauses = {}
    for trial, value in values.items():
        rule.observe(trial, {1: value})
        pauses[trial] = rule.pauses(trial, 1)
    assert pauses == {0: False, 1: True, 2: True}
    assert rule.choose({1, 2}) == 1
    rule.observe(3, {1: 0.9})
    assert not rule.pauses(3, 1)  # the best of four: it need not be paused to go on


def test_the_highest_rung_is_served_first() -> None:
    rule = PromotionRule([1, 3], 2, maximize=False)
    rule.observe(0, {1: 1.0, 2: 1.0, 3: 1.0})
    rule.observe(1, {1: 2.0, 3: 0.9})
    rule.observe(2, {1: 0.1})
    rule.observe(3, {1: 0.2})
    assert rule.choose({0, 1, 2, 3}) == 1
    assert rule.choose({0, 2, 3}) == 2
    assert rule.choose({0, 3}) == 3
    assert rule.choose({0}) is None


def test_at_the_end_at_least_one_goes_on_from_each_rung() -> None:
    rule = PromotionRule([1, 3], 3, maximize=False)
    rule.observe(0, {1: 2.0})
    rule.observe(1, {1: 1.0})
    assert rule.choose({0, 1}) is None
    assert rule.choose({0, 1}, is_closing=True) == 1
    rule.observe(1, {1: 1.0, 3: 0.5})
    assert rule.choose({0, 1}, is_closing=True) == 1
    assert rule.choose({0}, is_closing=True) is None


def test_a_trial_that_repeats_epochs_is_not_paused_where_it_was_promoted() -> None:
    rule = PromotionRule([1, 3], 3, maximize=False)
    for trial in range(4):
        rule.observe(trial, {1: float(trial)})
    rule.observe(0, {1: 0.0, 3: 0.0})
    rule.observe(3, {1: 3.0, 2: 2.5, 3: 2.5})
    assert not rule.pauses(3, 1)
    assert rule.pauses(3, 3)
    assert not rule.pauses(3, 2)


_reports = st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=9).map(
    lambda values: dict(enumerate(values, start=1))
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_reports, min_size=1, max_size=30), st.integers(2, 4), st.booleans(), st.randoms())
def test_the_order_of_telling_does_not_matter_and_quotas_hold(
    trials: list[dict[int, float]], factor: int, maximize: bool, random: object
) -> None:
    rungs = promotion_rungs(1, factor, 10)
    rule, again = (PromotionRule(rungs, factor, maximize=maximize) for _ in range(2))
    for number, reports in enumerate(trials):
        rule.observe(number, reports)
    for number, reports in reversed(list(enumerate(trials))):
        again.observe(number, dict(list(reports.items())[:1]))
        again.observe(number, reports)
    paused = set(range(len(trials)))
    promoted = []
    while (chosen := rule.choose(paused)) is not None:
        assert again.choose(paused) == chosen
        paused.remove(chosen)
        promoted.append(chosen)
    for rung in rungs:
        at_rung = [number for number, reports in enumerate(trials) if max(reports) >= rung]
        sign = -1 if maximize else 1
        best = sorted(at_rung, key=lambda number: (sign * trials[number][rung], number))
        top = set(best[: len(at_rung) // factor])
        above = [other for other in rungs if other > rung]
        last_here = [n for n in at_rung if not above or max(trials[n]) < above[0]]
        assert {n for n in promoted if n in last_here} == top & set(last_here)
