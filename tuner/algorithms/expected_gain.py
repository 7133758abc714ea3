"""How much better a study's best score is expected to get by further trials.

The gain is estimated from scores alone, so it holds for any space and any sampler: the tail of the
latest trials' scores is taken as exponential. Its mean excess b is that of the best 40 % of the
latest 30 trials over the next one. The best of n values with such a tail grows as b ln n (order
statistics of the exponential distribution; Rényi, 1953), so m more are expected to bring
b ln(1 + m/n).

Makarova et al. (2022) stop by a bound on the regret, from a Gaussian process over the space. On
TaskSet's tables that bound stayed far too wide to stop a search, and expected improvement stopped
too early: see docs/decisions/repeats-and-stopping.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.errors import UsageError
from tuner.values import format_number, shown

AHEAD = 20  # The gain is that of so many further trials.
# Before so many trials nothing is said. At 10, one search in ten lost 2 % more.
FEWEST_TRIALS = 20
# So many trials in a row must have brought nothing: what improves now goes on improving.
FEWEST_WITHOUT_GAIN = 15
_LATEST = 30
_TAIL = 0.4
AUTO = "auto"
# On TaskSet's tables it saves half of the epochs and costs 0.5 to 1 % of the way from the median
# configuration to the best.
USUAL_SHARE = 0.05


@dataclass(frozen=True)
class ExpectedGain:
    """`gain`: how much better the best score is expected to be after AHEAD further trials, in the
    objective's unit, at least 0. `spread`: how much better it is than the median trial's.
    `without_gain`: how many trials have ended since the best one."""

    gain: float
    spread: float
    without_gain: int

    @property
    def share(self) -> float:
        """The gain as a part of the spread."""
        return self.gain / self.spread if self.spread > 0 else math.inf

    @property
    def in_words(self) -> str:
        """ "0.0012 by 20 further trials (3 % of the spread)"."""
        part = f", {self.share:.2g} of the spread" if self.spread > 0 else ""
        return f"{format_number(self.gain)} by {AHEAD} further trials{part}"


def expected_gain(values: Sequence[float], best: float, direction: str) -> ExpectedGain | None:
    """The expected gain of a study. `values`: of the trials that have ended with one, complete or
    pruned, in the order in which they ended; `best`: the best score, which is among them. None
    where fewer than FEWEST_TRIALS have ended."""
    if len(values) < FEWEST_TRIALS:
        return None
    sign = 1.0 if direction == "maximize" else -1.0
    scores = [sign * value for value in values]
    latest = sorted(scores[-_LATEST:], reverse=True)
    count = max(3, math.ceil(_TAIL * len(latest)))
    excess = sum(latest[:count]) / count - latest[count]
    ordered = sorted(scores)
    return ExpectedGain(
        gain=excess * math.log(1 + AHEAD / len(scores)),
        spread=max(0.0, sign * best - ordered[len(ordered) // 2]),
        without_gain=len(scores) - 1 - scores.index(sign * best),
    )


@dataclass(frozen=True)
class GainLimit:
    """When a study is sure of its best score: `amount` in the objective's unit, or as a part of the
    spread where `is_share`."""

    amount: float
    is_share: bool = False

    def is_met(self, expected: ExpectedGain) -> bool:
        """Whether less than this is expected, after enough trials without a gain."""
        if expected.without_gain < FEWEST_WITHOUT_GAIN:
            return False
        return (expected.share if self.is_share else expected.gain) < self.amount

    @classmethod
    def parse(cls, value: str | float, option: str) -> "GainLimit":
        """ "auto", a share such as "5%", or a number in the objective's unit. `option`: as the user
        wrote it. Raises UsageError."""
        text = str(value).strip()
        if text == AUTO:
            return cls(USUAL_SHARE, is_share=True)
        is_share = text.endswith("%")
        try:
            number = math.nan if isinstance(value, bool) else float(text.removesuffix("%"))
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number <= 0 or (is_share and number >= 100):
            raise UsageError(
                f"{option} must be {AUTO}, a share such as 5%, or a number above 0 in the "
                f"objective's unit, got {shown(value)}"
            )
        return cls(number / 100 if is_share else number, is_share)

    def __str__(self) -> str:
        return f"{100 * self.amount:.12g}%" if self.is_share else f"{self.amount:.12g}"
