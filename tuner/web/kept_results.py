"""What takes long to compute, kept for all who look until it has changed.

However many pages are open, and however often trials end, each result takes at most 0.25 % of one
core while trials train: one that took 20 ms is then kept for 8 s.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_AGE_FOR_COST = 400.0
_MOST_KEPT = 200


@dataclass
class _Kept:
    """`mark`: of what it was computed from. `cost_s`: how long that took."""

    mark: str
    value: Any
    cost_s: float
    made_at: float


class KeptResults:
    """Results by key. Several threads may ask; a result is computed by one of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(
        self, key: Hashable, mark: str, is_busy: bool, compute: Callable[[], T]
    ) -> tuple[str, T]:
        """The result, and the mark of what it was computed from: `mark`, or an earlier one while
        `is_busy` and the result is too young to be computed again."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            kept = self._kept.get(key)
            if kept is None or not self._serves(kept, mark, is_busy):
                begun = self._clock()
                value = compute()
                kept = _Kept(mark, value, self._clock() - begun, self._clock())
            with self._lock:
                self._keep(key, kept)
        return kept.mark, kept.value

    def _serves(self, kept: _Kept, mark: str, is_busy: bool) -> bool:
        is_young = self._clock() - kept.made_at < _AGE_FOR_COST * kept.cost_s
        return kept.mark == mark or (is_busy and is_young)

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST_KEPT:
            oldest, _ = self._kept.popitem(last=False)
            self._locks.pop(oldest, None)
