"""The gain that further trials are expected to bring, against draws whose answer is known."""

import math
import random
from statistics import mean

import pytest

from tuner.algorithms.expected_gain import (
    AHEAD,
    FEWEST_TRIALS,
    FEWEST_WITHOUT_GAIN,
    ExpectedGain,
    GainLimit,
    expected_gain,
)
from tuner.errors import UsageError


def draws(seed: int, count: int) -> list[float]:
    generator = random.Random(seed)
    return [generator.expovariate(10) for _ in range(count)]


def test_the_gain_is_that_of_records_of_draws_with_an_exponential_tail() -> None:
    expected, actual = [], []
    for seed in range(400):
        values = draws(seed, 60 + AHEAD)
        gain = expected_gain(values[:60], max(values[:60]), "maximize")
        assert gain is not None
        expected.append(gain.gain)
        actual.append(max(values) - max(values[:60]))
    assert mean(actual) == pytest.approx(math.log(80 / 60) / 10, rel=0.3)
    assert mean(expected) == pytest.approx(math.log(80 / 60) / 10, rel=0.1)


def test_losses_and_accuracies_are_mirrored() -> None:
    values = draws(1, 40)
    most = expected_gain(values, max(values), "maximize")
    least = expected_gain([-value for value in values], -max(values), "minimize")
    assert most == least


def test_nothing_is_said_of_few_trials() -> None:
    values = draws(0, FEWEST_TRIALS - 1)
    assert expected_gain(values, max(values), "maximize") is None


def test_equal_scores_leave_nothing_to_gain() -> None:
    gain = expected_gain([0.5] * 30, 0.5, "maximize")
    assert gain == ExpectedGain(0.0, 0.0, 29)
    assert GainLimit.parse(0.001, "until_sure").is_met(gain)


def test_the_expected_gain_is_no_reason_to_stop_while_scores_improve() -> None:
    limit = GainLimit(1.0)
    assert not limit.is_met(ExpectedGain(0.0, 1.0, FEWEST_WITHOUT_GAIN - 1))
    assert limit.is_met(ExpectedGain(0.0, 1.0, FEWEST_WITHOUT_GAIN))


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("auto", GainLimit(0.05, is_share=True)),
        ("2.5%", GainLimit(0.025, is_share=True)),
        ("0.002", GainLimit(0.002)),
        (3, GainLimit(3.0)),
    ],
)
def test_a_limit_is_a_number_a_share_or_auto(text: str | float, limit: GainLimit) -> None:
    assert GainLimit.parse(text, "--until-sure") == limit
    assert GainLimit.parse(str(limit), "--until-sure") == limit


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "100%", "0%", "%", "often", True])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--until-sure must be auto, a share such as 5%, or a"):
        GainLimit.parse(text, "--until-sure")
