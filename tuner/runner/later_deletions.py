"""Deletions in a store on other machines: one thread does them, so that the loop need not wait for
the store."""

import logging
import queue
import threading
from collections.abc import Callable

Deletion = Callable[[], None]
log = logging.getLogger(__name__)
# What is not deleted at the end of a search costs space in the store, until `tuner gc`.
_AT_THE_END_S = 10.0


class LaterDeletions:
    """Does deletions in order. One that raises is logged, and left to `tuner gc`."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Deletion | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="deletions", daemon=True)
        self._thread.start()

    def __call__(self, deletion: Deletion) -> None:
        self._waiting.put(deletion)

    def close(self) -> None:
        """Wait for those that are left, but not for long."""
        self._waiting.put(None)
        self._thread.join(_AT_THE_END_S)

    def _run(self) -> None:
        while (deletion := self._waiting.get()) is not None:
            try:
                deletion()
            except Exception as error:  # the others are still to be done
                log.warning("files of trials that have ended are left (%s)", error)


def at_once(deletion: Deletion) -> None:
    """On a disk nothing is gained by a thread."""
    deletion()
