"""Random search: whole trials (`random`)."""

import numpy as np

from benchmarks.search.contract import Answer, NewTrial, Setting


class RandomSearch:
    """Uniform configurations, each trained to its end (Bergstra and Bengio, 2012)."""

    def __init__(self, setting: Setting) -> None:
        self._space = setting.space
        self._random = np.random.default_rng(setting.seed)
        self._trials = 0

    def ask(self) -> NewTrial:
        self._trials += 1
        return NewTrial(self._trials - 1, self._space.sample(self._random))

    def report(self, trial: int, epoch: int, value: float) -> Answer:
        return Answer.GO_ON

    def finished(self, trial: int, value: float) -> None:
        pass


def build(form: str, setting: Setting) -> RandomSearch:
    if form:
        raise ValueError(f"random takes no form, got {form!r}")
    return RandomSearch(setting)
