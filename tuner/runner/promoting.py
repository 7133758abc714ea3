"""Paused trials of a loop's study: which goes on next, and the end of those that never do."""

import contextlib
import logging
from collections.abc import Callable

from tuner.algorithms.pruners import PRUNERS, PromotionPruner
from tuner.errors import SlotLost
from tuner.runner.trial_writer import TrialWriter
from tuner.storage import paused_slots, slots
from tuner.storage.slots import TrialSlot
from tuner.study.ends import TrialEnd

logger = logging.getLogger(__name__)


class Promotions:
    """Those of one loop. `ended` is called with the number, the end and the running best of each
    paused trial that goes on no more. Nothing is read where the pruner pauses no trials."""

    def __init__(self, writer: TrialWriter, ended: Callable[[int, TrialEnd, float], None]) -> None:
        self._writer, self._ended = writer, ended
        self._pauses = PRUNERS[writer.spec.pruner.name].pauses

    def next_trial(self, limit: int) -> int | None:
        """The id of the paused trial, of the slots up to this number, that goes on before a new
        trial begins; None for none."""
        if not self._pauses:
            return None
        writer = self._writer
        paused = paused_slots.read_paused(writer.store, writer.lease, limit)
        if not paused.trial_ids:
            return None
        ids = set(paused.trial_ids)
        trials = writer.study.get_trials(deepcopy=False)
        id_of = {trial._number: trial._trial_id for trial in trials if trial._trial_id in ids}
        pruner = writer.study.pruner
        assert isinstance(pruner, PromotionPruner)
        chosen = pruner.choose(writer.study, id_of.keys(), is_closing=not paused.has_new)
        return None if chosen is None else id_of[chosen]

    def end_stopped(self) -> None:
        """End the paused trials that somebody has stopped."""
        if not self._pauses:
            return
        store, lease = self._writer.store, self._writer.lease
        if paused_slots.read_paused(store, lease, 0).stopped:
            while claimed := paused_slots.claim_stopped(store, lease):
                self._end(claimed, TrialEnd.STOPPED)

    def end_last(self, limit: int) -> None:
        """End the paused trials where the study has nothing else left to do: they were worse than
        those that went on, and are pruned. None where it has more slots than the limit: of those
        beyond it some may go on."""
        if not self._pauses:
            return
        self.end_stopped()
        store, lease = self._writer.store, self._writer.lease
        if slots.total_slots(store, lease) > limit or slots.has_state(
            store, lease, "open", "claimed"
        ):
            return
        if self.next_trial(limit) is not None:
            return
        while claimed := paused_slots.claim_last(store, lease):
            logger.info("%d paused trials are pruned: none of them goes on", len(claimed))
            self._end(claimed, TrialEnd.PRUNED)

    def _end(self, claimed: list[TrialSlot], end: TrialEnd) -> None:
        for slot in claimed:
            with contextlib.suppress(SlotLost):  # this loop was held up for longer than its lease
                number, value = self._writer.end_paused(slot, end)
                self._ended(number, end, value)
