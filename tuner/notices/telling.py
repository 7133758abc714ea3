"""Telling receivers of a search without ever holding it up.

One thread decides what is told, in order: of several loops one announces, and of new bests the last
one in a while (`Turns`). Each receiver has a thread too, so that one that does not answer delays no
other.
"""

import collections
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import tenacity

from tuner.errors import NoticeError, TunerError
from tuner.notices.announcements import Announcement, NoticeKind
from tuner.notices.receivers import Receiver, make_receiver, read_addresses

logger = logging.getLogger(__name__)
# What a search waits for at its end, at most.
CLOSE_S = 5.0
# Attempts for one announcement: 1, 2, 4, … s apart, then one a minute.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _GIVE_UP_S = 1.0, 60.0, 900.0
# Announcements that wait for a receiver that does not answer; older ones are dropped.
_MOST_WAITING = 100


@dataclass(frozen=True)
class Later:
    """Ask again after `seconds`."""

    seconds: float


# What becomes of an announcement: what is told now, perhaps newer; Later; or None for never.
Turns = Callable[[Announcement], Announcement | Later | None]


def _at_once(announcement: Announcement) -> Announcement:
    return announcement


class Announcer:
    """Tells receivers what happens. Without receivers it does nothing. `turns` is called in a
    thread of its own, and may take its time and raise TunerError: then it is told all the same."""

    def __init__(self, receivers: Sequence[Receiver] = (), turns: Turns = _at_once) -> None:
        self._turns = turns
        self._posts = [_Post(receiver) for receiver in receivers]
        self._waiting: dict[tuple[str, NoticeKind, str], tuple[float, Announcement]] = {}
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="announcements", daemon=True)

    @property
    def is_silent(self) -> bool:
        """Whether nobody is told anything."""
        return not self._posts

    def start(self) -> None:
        if self._posts:
            self._thread.start()
            for post in self._posts:
                post.start()

    def tell(self, announcement: Announcement) -> None:
        """Never blocks. Of a study's new bests that wait only the last one is told, and none where
        another announcement says the best too."""
        if self.is_silent:
            return
        with self._changed:
            best = (announcement.uuid, NoticeKind.BEST, "")
            key = (announcement.uuid, announcement.kind, announcement.what)
            due, _ = self._waiting.get(key, (0.0, None))
            self._waiting[key] = (due, announcement)
            if announcement.kind is not NoticeKind.BEST and announcement.score is not None:
                self._waiting.pop(best, None)
            self._changed.notify()

    def close(self, within_s: float = CLOSE_S) -> None:
        """Tell what can be told within that time, and end. Each receiver gets one attempt more for
        each announcement that waits."""
        if self.is_silent:
            return
        until = time.monotonic() + within_s
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(within_s)
        for post in self._posts:
            post.finish()
        for post in self._posts:
            post.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while (announcement := self._next()) is not None:
            turn = self._turn(announcement)
            if isinstance(turn, Later):
                self._put_off(announcement, turn.seconds)
            elif turn is not None:
                for post in self._posts:
                    post.put(turn)

    def _next(self) -> Announcement | None:
        """The announcement that is due; waits for one. None at the end."""
        with self._changed:
            while True:
                key = min(self._waiting, key=lambda key: self._waiting[key][0], default=None)
                due = self._waiting[key][0] if key is not None else None
                pause_s = None if due is None else due - time.monotonic()
                if key is not None and pause_s is not None and pause_s <= 0:
                    return self._waiting.pop(key)[1]
                if self._is_closing:
                    return None  # bests that may not be told yet
                self._changed.wait(pause_s)

    def _turn(self, announcement: Announcement) -> Announcement | Later | None:
        try:
            return self._turns(announcement)
        except TunerError as error:
            # Better twice than never.
            logger.info("told without asking the database: %s", error)
            return announcement

    def _put_off(self, announcement: Announcement, seconds: float) -> None:
        key = (announcement.uuid, announcement.kind, announcement.what)
        with self._changed:
            _, newer = self._waiting.get(key, (0.0, announcement))
            self._waiting[key] = (time.monotonic() + seconds, newer)


class _Post:
    """What waits for one receiver, and the thread that sends it."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._queue: collections.deque[Announcement] = collections.deque(maxlen=_MOST_WAITING)
        self._changed = threading.Condition()
        self._is_finishing = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"notify {receiver.name}", daemon=True
        )
        self._is_failing = False

    def start(self) -> None:
        self._thread.start()

    def put(self, announcement: Announcement) -> None:
        with self._changed:
            if announcement.kind is NoticeKind.BEST:
                others = [each for each in self._queue if not _is_older_best(each, announcement)]
                self._queue.clear()
                self._queue.extend(others)
            self._queue.append(announcement)
            self._changed.notify()

    def finish(self) -> None:
        """No pause is waited for any more; the thread ends once nothing waits."""
        with self._changed:
            self._is_finishing.set()
            self._changed.notify()

    def join(self, within_s: float) -> None:
        self._thread.join(within_s)
        if self._thread.is_alive():
            logger.warning("a notification did not reach %s in time", self._receiver.name)

    def _run(self) -> None:
        while (announcement := self._next()) is not None:
            try:
                self._send(announcement)
                self._is_failing = False
            except NoticeError as error:
                self._complain(error)

    def _next(self) -> Announcement | None:
        with self._changed:
            while not self._queue:
                if self._is_finishing.is_set():
                    return None
                self._changed.wait()
            return self._queue.popleft()

    def _send(self, announcement: Announcement) -> None:
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: getattr(error, "may_pass", False)),
            wait=tenacity.wait_exponential(_FIRST_PAUSE_S, _LONGEST_PAUSE_S),
            stop=tenacity.stop_after_delay(_GIVE_UP_S)
            | tenacity.stop_when_event_set(self._is_finishing),
            sleep=tenacity.sleep_using_event(self._is_finishing),
            before_sleep=self._before_pause,
            reraise=True,
        )
        attempts(self._receiver.send, announcement)

    def _before_pause(self, state: tenacity.RetryCallState) -> None:
        if state.outcome is not None and isinstance(error := state.outcome.exception(), Exception):
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Once, until it answers again: the search goes on."""
        if not self._is_failing:
            logger.warning("a notification cannot reach %s: %s", self._receiver.name, error)
        self._is_failing = True


def _is_older_best(waiting: Announcement, newer: Announcement) -> bool:
    return waiting.kind is NoticeKind.BEST and waiting.uuid == newer.uuid


@contextmanager
def announcer(addresses: Sequence[str], turns: Turns = _at_once) -> Iterator[Announcer]:
    """An announcer for these addresses (see `read_addresses`), for as long as the context lasts,
    and at most CLOSE_S more. Raises UsageError."""
    receivers = [make_receiver(address) for address in read_addresses(addresses)]
    telling = Announcer(receivers, turns)
    telling.start()
    try:
        yield telling
    finally:
        telling.close()
