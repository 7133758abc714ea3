"""How busy a loop is: the time between its waits for workers."""

import time
from collections.abc import Callable
from typing import Any, cast

from tuner.study.messages import Message, Report
from tuner.workers import Workers

# Is told, at each wait of a loop, how many seconds it worked since the last one, and how many
# reports came.
Meter = Callable[[float, int], None]


class _MeteredWorkers:
    def __init__(self, workers: Workers, meter: Meter) -> None:
        self._workers, self._meter = workers, meter
        self._worked_from = time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workers, name)

    def wait(self, timeout_s: float) -> list[tuple[int, Message]]:
        busy_s = time.monotonic() - self._worked_from
        messages = self._workers.wait(timeout_s)
        self._worked_from = time.monotonic()
        self._meter(busy_s, sum(isinstance(message, Report) for _, message in messages))
        return messages


def metered(workers: Workers, meter: Meter | None) -> Workers:
    """The workers; with a meter, it is told of each wait for them."""
    return workers if meter is None else cast(Workers, _MeteredWorkers(workers, meter))
