"""Side-by-side runs against the tools that people use today; the watch on their searches."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

OBJECTIVE = "val_accuracy"


class SearchEnded(BaseException):
    """Not an Exception: KerasTuner takes each of those for a failed trial and goes on."""


@dataclass
class Progress:
    """Counts the trials and epochs of a search; ends it at a target or a time limit.

    The limit is looked at when an epoch ends, so a search overruns it by up to an epoch.
    """

    target: float = math.inf
    limit_s: float = math.inf
    started: float = field(default_factory=time.perf_counter)
    trials: int = 0
    trial_epochs: int = 0
    best: float = 0.0
    reached_s: float | None = None

    def callback(self) -> Any:
        from keras.callbacks import LambdaCallback

        return LambdaCallback(on_train_begin=self._count_trial, on_epoch_end=self._count_epoch)

    def elapsed_s(self) -> float:
        return time.perf_counter() - self.started

    def counts(self) -> dict[str, Any]:
        return {"trials": self.trials, "trial_epochs": self.trial_epochs, "best": self.best}

    def _count_trial(self, logs: dict[str, Any] | None = None) -> None:
        self.trials += 1

    def _count_epoch(self, epoch: int, logs: dict[str, Any]) -> None:
        self.trial_epochs += 1
        self.best = max(self.best, logs[OBJECTIVE])
        if self.best >= self.target:
            self.reached_s = self.elapsed_s()
            raise SearchEnded
        if self.elapsed_s() >= self.limit_s:
            raise SearchEnded

    def __deepcopy__(self, memo: dict[int, Any]) -> "Progress":
        # KerasTuner copies every callback for every trial; the counts belong to the whole search.
        return self
