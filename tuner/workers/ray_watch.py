"""Whether the head of the Ray cluster is there, and which nodes it has.

It is asked in a thread of its own: a head that is gone does not answer, and a loop must not wait
for it. Ray itself would end this process after a minute without its head.
"""

import threading
import time
from typing import Any

_ASK_S = 2.0
# Longer than a head that is busy, or starts again, takes to answer.
_SILENT_S = 20.0
# This process may have been stopped for a while: the head may answer yet.
_GRACE_S = 3.0


class NodeWatch:
    """The nodes of the cluster that this process is connected to, until `end`. `resources`: of each
    living node, by name: CPU, GPU."""

    def __init__(self) -> None:
        import ray

        self._ask = ray.nodes
        self._over = threading.Event()
        self._answered_at = time.monotonic()
        self._silent_since: float | None = None
        self.resources = self._read()
        threading.Thread(target=self._watch, name="ray-nodes", daemon=True).start()

    def _read(self) -> list[dict[str, float]]:
        nodes: list[dict[str, Any]] = self._ask()
        return [node["Resources"] for node in nodes if node["Alive"]]

    def _watch(self) -> None:
        while not self._over.wait(_ASK_S):
            try:
                self.resources = self._read()
            except Exception:  # of many kinds, by what was cut off; `is_gone` says it in time
                continue
            self._answered_at = time.monotonic()

    def is_gone(self) -> bool:
        """Whether the head has been silent for too long. Asked at each wait for messages."""
        clock = time.monotonic()
        if clock - self._answered_at < _SILENT_S:
            self._silent_since = None
            return False
        self._silent_since = self._silent_since or clock
        return clock - self._silent_since > _GRACE_S

    def end(self) -> None:
        self._over.set()
