"""One epoch of many configurations, then the best of them to the end: `top-k` (Egele et al., 2023,
"Is one epoch all you need for multi-fidelity hyperparameter optimization?").

A search whose budget is not known repeats this in rounds: ROUND configurations, of which KEPT are
trained to the end.
"""

from benchmarks.search.contract import Answer, NewTrial, PausedTrial, Setting
from benchmarks.search.methods.random_search import RandomSearch

ROUND = 100
KEPT = 3


class OneEpochThenTopK:
    def __init__(self, setting: Setting) -> None:
        self._proposals = RandomSearch(setting)
        self._started = 0
        self._values: dict[int, float] = {}  # of this round's trials after their first epoch
        self._promoted: list[int] = []
        self._training: set[int] = set()

    def ask(self) -> NewTrial | PausedTrial | None:
        if self._started < ROUND:
            self._started += 1
            new = self._proposals.ask()
            self._training.add(new.trial)
            return new
        if not self._promoted:
            return None  # until the last first epochs, or the best of the round, have ended
        trial = self._promoted.pop(0)
        self._training.add(trial)
        return PausedTrial(trial)

    def report(self, trial: int, epoch: int, value: float) -> Answer:
        if epoch > 1:
            return Answer.GO_ON
        self._values[trial] = value
        self._training.discard(trial)
        self._close_round()
        return Answer.PAUSE

    def finished(self, trial: int, value: float) -> None:
        self._training.discard(trial)
        self._close_round()

    def _close_round(self) -> None:
        """Once nothing trains: promote the best of a full round, or begin the next round."""
        if self._training or self._promoted or self._started < ROUND:
            return
        self._promoted = sorted(self._values, key=self._values.__getitem__)[:KEPT]
        self._values.clear()
        if not self._promoted:
            self._started = 0


def build(form: str, setting: Setting) -> OneEpochThenTopK:
    if form:
        raise ValueError(f"top-k takes no form, got {form!r}")
    return OneEpochThenTopK(setting)
