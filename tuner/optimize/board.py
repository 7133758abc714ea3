"""What a running search shows: plain numbers, drawn by whoever watches."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass
class Slot:
    """What one worker is at. `value` is its trial's running best."""

    trial: int | None = None
    epoch: int = 0
    epochs: int = 0
    value: float | None = None


@dataclass
class Board:
    """Counts are of the places up to this command's total; `ended` counts this loop's trials by
    how they ended."""

    total: int
    done: int = 0
    best: float | None = None
    best_trial: int | None = None
    ended: dict[str, int] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)
    done_here: int = 0
    elapsed_s: float = 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds to go at the pace so far; None before the first trial has ended."""
        if not self.done_here:
            return None
        return self.elapsed_s / self.done_here * max(0, self.total - self.done)


class Watcher(Protocol):
    """Hears of a search as it goes on; must not block."""

    def changed(self, board: Board) -> None: ...

    def trial_ended(
        self, board: Board, trial: int, end: str, value: float | None, is_best: bool
    ) -> None:
        """`is_best`: its score is better than that of every other trial of the study."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def changed(self, board: Board) -> None:
        return

    def trial_ended(
        self, board: Board, trial: int, end: str, value: float | None, is_best: bool
    ) -> None:
        return
