"""Whether the head of the Ray cluster is there, which nodes it has, and what Ray says of losses.

The head is asked in a thread of its own: one that is gone does not answer, and a loop must not wait
for it. Ray itself would end this process after a minute without its head. Ray tells causes of a
loss apart by the text of its errors alone. A text that is not known makes a less exact line, and
no other difference.
"""

import logging
import re
import threading
import time
from typing import Any

from tuner.study.messages import WorkerPlace
from tuner.system.names import command, in_command

logger = logging.getLogger(__name__)
_NODE_DIED = ("node has died", "node was terminated", "node failure", "node is dead")
_OUT_OF_MEMORY = ("low on memory", "OutOfMemory", "out of memory")
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
# Ray's own lines are long; the reason stands first.
_LINE = 200
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


class RayQuiet:
    """While it lasts, what Ray says of nodes and workers goes to the log: Ray prints it to this
    process' stdout, whatever its loggers are told."""

    _lock = threading.Lock()
    _lasting = 0
    _print: Any = None

    def __init__(self) -> None:
        from ray._private import worker

        self._worker, self._lasts = worker, True
        with RayQuiet._lock:
            RayQuiet._lasting += 1
            if RayQuiet._lasting == 1:
                RayQuiet._print = getattr(worker, "print_to_stdstream", None)
                worker.print_to_stdstream = _log

    def end(self) -> None:
        """Searches in other threads may want it longer."""
        with RayQuiet._lock:
            if not self._lasts:
                return
            self._lasts = False
            RayQuiet._lasting -= 1
            if not RayQuiet._lasting and RayQuiet._print is not None:
                self._worker.print_to_stdstream = RayQuiet._print


def _log(data: dict[str, Any], ignore_prefix: bool = False) -> None:
    for line in data.get("lines", ()):
        logger.info("Ray: %s", str(line).partition("\n")[0][:_LINE])


def is_nodes_fault(error: BaseException) -> bool:
    """Whether the actor ended with its node."""
    return any(words in str(error) for words in _NODE_DIED)


def why_lost(error: BaseException, place: WorkerPlace | None) -> str:
    """What became of an actor's worker: "was lost with its node vm/1f2e3d4c"."""
    where = "the node that it was to start on" if place is None else f"its node {place}"
    if is_nodes_fault(error):
        return f"was lost with {where}"
    if any(words in str(error) for words in _OUT_OF_MEMORY):
        return f"was ended by Ray, because {where} ran out of memory"
    return f"was lost on {where}: the process of its Ray actor has ended"


def why_not_begun(error: BaseException) -> str:
    """Why actors end as they start: mostly the last line of a traceback."""
    lines = [line.strip() for line in _COLORS.sub("", str(error)).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def why_no_cluster(study: str, reason: str) -> str:
    """For a search whose cluster does not answer any more."""
    again = command("optimize", in_command(study))
    return (
        f"the Ray cluster is gone ({reason}); no trial is lost, they go on from their checkpoints "
        f"with: {again} (with --on ADDRESS on another cluster)"
    )
