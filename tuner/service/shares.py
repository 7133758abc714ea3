"""How a machine's worker processes are shared between the studies that a daemon works on.

`share_out` is a pure function: from what each study wants to how many processes it gets.
`ProcessShares` hands them to loops, which run in threads: together they never hold more than the
machine has.
"""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

# An equal study that waits gets a process of one that has had it for so much longer: in process
# seconds. A change costs a loop's start.
TURN_S = 60.0


@dataclass(frozen=True)
class Demand:
    """What one study wants. `most`: how many processes it can use. `holds`: how many it has now.
    `used_s`: the process seconds it has had. Studies are given in the order of their creation."""

    uuid: str
    priority: int
    most: int
    holds: int = 0
    used_s: float = 0.0


def share_out(processes: int, demands: Sequence[Demand]) -> dict[str, int]:
    """How many processes each study gets. Higher priorities first; equal ones get as many as each
    other, and what one cannot use goes to the next. Where there are fewer processes than studies,
    those that have had less come first, in turns of TURN_S."""
    shares = {demand.uuid: 0 for demand in demands}
    left = processes
    for priority in sorted({demand.priority for demand in demands}, reverse=True):
        equals = [demand for demand in demands if demand.priority == priority]
        # Sorting is stable: of those that have had as much, the oldest study comes first.
        equals.sort(key=lambda demand: demand.used_s - (TURN_S if demand.holds else 0.0))
        while left and (hungry := [each for each in equals if shares[each.uuid] < each.most]):
            for demand in hungry[:left]:
                shares[demand.uuid] += 1
            left -= min(left, len(hungry))
    return shares


@dataclass
class _Account:
    """Of one study: its `target`; how many processes it was `granted`, of which it uses `running`;
    the process seconds `used_s` that it has had up to `counted_at`."""

    target: int = 0
    granted: int = 0
    running: int = 0
    used_s: float = 0.0
    counted_at: float = 0.0


@dataclass
class ProcessShares:
    """The processes of this machine. A loop asks for its share before it begins trials, and tells
    how many run; a share that has become smaller is free for others once its trials have ended.
    Times are in seconds of any one clock."""

    processes: int
    _accounts: dict[str, _Account] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set_targets(self, targets: dict[str, int], clock: float) -> None:
        """The shares that the studies are to have from now on; those left out get none."""
        with self._lock:
            for uuid in targets:
                self._open(uuid, targets, clock)
            for uuid, account in self._accounts.items():
                account.used_s += account.running * (clock - account.counted_at)
                account.counted_at, account.target = clock, targets.get(uuid, 0)

    def _open(self, uuid: str, others: Collection[str], clock: float) -> None:
        """A study that is new has had as much as those that have had least: it must not have the
        machine for itself until it has caught up with them."""
        if uuid not in self._accounts:
            used = [self._accounts[other].used_s for other in others if other in self._accounts]
            self._accounts[uuid] = _Account(used_s=min(used, default=0.0), counted_at=clock)

    def share(self, uuid: str) -> int:
        """How many of its trials may run now. It grows only by processes that nobody holds."""
        with self._lock:
            account = self._accounts.get(uuid)
            if account is None:
                return 0
            if account.target <= account.granted:
                account.granted = max(account.target, account.running)
            else:
                free = self.processes - sum(each.granted for each in self._accounts.values())
                account.granted += min(max(0, free), account.target - account.granted)
            return min(account.target, account.granted)

    def runs(self, uuid: str, running: int) -> None:
        """So many trials of the study run now."""
        with self._lock:
            if (account := self._accounts.get(uuid)) is not None:
                account.running = running

    def leave(self, uuid: str) -> None:
        """The study's loop has ended: what it held is free."""
        with self._lock:
            if (account := self._accounts.get(uuid)) is not None:
                account.target = account.granted = account.running = 0

    def forget_all_but(self, uuids: Collection[str]) -> None:
        """Other studies are gone, or have nothing left to do."""
        with self._lock:
            for uuid in self._accounts.keys() - uuids:
                del self._accounts[uuid]

    def used(self, uuid: str) -> tuple[int, float]:
        """How many processes the study holds, and the process seconds it has had."""
        with self._lock:
            account = self._accounts.get(uuid)
            return (0, 0.0) if account is None else (account.granted, account.used_s)

    def running(self, uuid: str | None = None) -> int:
        """How many trials of the study run, or of all studies."""
        with self._lock:
            if uuid is None:
                return sum(account.running for account in self._accounts.values())
            return self._accounts[uuid].running if uuid in self._accounts else 0
