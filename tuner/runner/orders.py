"""What is asked of a study while it is searched: to stop, to pause, to end a trial, its total."""

import time
from collections.abc import Callable

from tuner.runner.progress import RunStatus
from tuner.runner.stopping import Stopping
from tuner.runner.trial_writer import TrialWriter
from tuner.storage import study_control
from tuner.storage.study_control import LoopOrders
from tuner.study.ends import StopReason
from tuner.system.names import command, in_command

_EVERY_S = 0.5


class Orders:
    """The orders of a loop's study, as they were read last. `follows_total`: whether the number of
    trials is the study's total; otherwise it is that of the limits. `stage` gets a line when the
    study is paused, or goes on. `share`: how many workers the search may use now."""

    def __init__(
        self,
        writer: TrialWriter,
        stopping: Stopping,
        status: RunStatus,
        stage: Callable[[str], None],
        share: Callable[[], int],
        follows_total: bool,
    ) -> None:
        self._writer, self._stopping, self._status = writer, stopping, status
        self._stage, self._share, self._follows_total = stage, share, follows_total
        self._orders = LoopOrders()
        self._next_at = 0.0

    @property
    def paused(self) -> bool:
        return self._orders.paused

    def may_train(self) -> int:
        """How many trials may run now."""
        return 0 if self._orders.paused else self._share()

    def stops_trial(self, slot: int) -> bool:
        """Whether somebody ends the trial of this slot."""
        return slot in self._orders.stopped_slots

    def read(self, *, is_idle: bool, now: bool = False) -> None:
        """Read them and obey: twice a second, or `now`. `is_idle`: no trial runs here."""
        clock = time.monotonic()
        if clock < self._next_at and not now:
            return
        self._next_at = clock + _EVERY_S
        was_paused, lease = self._orders.paused, self._writer.lease
        orders = self._orders = study_control.read_orders(self._writer.store, lease)
        if orders.stop is not None:
            self._stopping.stop(orders.stop)
        if orders.paused and is_idle and lease.daemon_id is not None:
            self._stopping.stop(StopReason.PAUSED)
        limit = self._stopping.limits.trials
        self._status.total = orders.total if self._follows_total else min(limit, orders.total)
        if orders.paused != was_paused:
            self._tell_pause()

    def read_soon(self) -> None:
        """Read them at the next call, whenever that is."""
        self._next_at = 0.0

    def _tell_pause(self) -> None:
        if not self._orders.paused:
            self._status.note = ""
            self._stage("the study goes on")
            return
        resume = command("study", "resume", in_command(self._writer.study.study_name))
        self._status.note = f"paused; to go on: {resume}"
        self._stage(f"waiting, because the study is paused (to go on: {resume})")
