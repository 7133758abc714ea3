"""What is announced of a search: new bests, its end, and what keeps it from going on."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from tuner.notices import Announcement, Announcer, NoticeKind, announcer, check_addresses
from tuner.notices.telling import Later
from tuner.runner.loop import Outcome
from tuner.runner.progress import RunStatus, Watcher
from tuner.settings import notify_addresses
from tuner.storage import Store, notices_told
from tuner.storage.studies import StudyRow, study_with_uuid
from tuner.study.ends import StopReason, TrialEnd
from tuner.system.secret_masking import without_secrets

# Of a study's new bests one is told in this time, and of the same failures.
BEST_EVERY_S = 30.0
FAILING_EVERY_S = 3600.0
# Several loops that stop early tell it once.
STOPPED_EVERY_S = 60.0
DONE = "done"
# Whoever ends a search in one of these ways knows it.
_KNOWN = (StopReason.INTERRUPTED, StopReason.PAUSED, StopReason.DELETED)
_FAILING = (StopReason.ERRORS, StopReason.STOPPED)


@contextmanager
def study_announcer(store: Store, addresses: Sequence[str]) -> Iterator[Announcer]:
    """An announcer for these addresses and those of TUNER_NOTIFY; see `notices.announcer`. Of
    several loops on the database one announces. Raises UsageError."""
    check_addresses(notify_addresses(), "TUNER_NOTIFY")
    wanted = [*notify_addresses(), *addresses]
    if not wanted:
        yield Announcer()
        return
    own_store = store.another()  # for the announcer's thread
    try:
        with announcer(wanted, _Turns(own_store)) as telling:
            yield telling
    finally:
        own_store.close()


class _Turns:
    """Asks the database whether another loop has announced it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, announcement: Announcement) -> Announcement | Later | None:
        """Raises StorageError."""
        study = study_with_uuid(self._store, announcement.uuid)
        if study is None:
            return None
        match announcement.kind:
            case NoticeKind.BEST:
                return self._best(study, announcement)
            case NoticeKind.DONE:
                if announcement.trial is not None:
                    notices_told.note_best(self._store, study, announcement.trial)
                subject, every_s = f"done/{announcement.done}", notices_told.FOR_EVER_S
                if announcement.what != DONE:  # loops that stop early have done different numbers
                    subject, every_s = f"done/{_digest(announcement)}", STOPPED_EVERY_S
            case NoticeKind.FAILING:
                subject, every_s = f"failing/{_digest(announcement)}", FAILING_EVERY_S
        is_ours = notices_told.claim(self._store, study, subject, every_s)
        return announcement if is_ours else None

    def _best(self, study: StudyRow, announcement: Announcement) -> Announcement | Later | None:
        """The best trial now: another loop may have a better one since."""
        best = notices_told.claim_best(self._store, study, BEST_EVERY_S)
        if best is None:
            return None
        if isinstance(best, float):
            return Later(best)
        number, score = best
        return replace(announcement, trial=number, score=score)


def _digest(announcement: Announcement) -> str:
    """Of what has happened, without its numbers: a trial's, or a process'."""
    what = re.sub(r"\d+", "", announcement.what)
    return hashlib.sha256(what.encode()).hexdigest()[:32]


class AnnouncedSearch:
    """A watcher that announces new bests besides what another one does; and how the search ends."""

    def __init__(self, announcer: Announcer, study: StudyRow, watcher: Watcher) -> None:
        self._announcer, self._study, self._watcher = announcer, study, watcher

    def changed(self, status: RunStatus) -> None:
        self._watcher.changed(status)

    def trial_ended(
        self, status: RunStatus, trial: int, end: TrialEnd, value: float | None, is_best: bool
    ) -> None:
        self._watcher.trial_ended(status, trial, end, value, is_best)
        if is_best:
            self._tell(NoticeKind.BEST, "", status)

    def loop_ended(self, outcome: Outcome) -> None:
        """No trial runs any more."""
        reason, status = outcome.reason, outcome.status
        if reason in _KNOWN or (reason is None and not status.done_here):
            return
        if reason is not None and reason in _FAILING:
            failure = f": {outcome.failure}" if outcome.failure else ""
            self._tell(NoticeKind.FAILING, f"{_stopped(reason)}{failure}", status)
        else:
            self._tell(NoticeKind.DONE, DONE if reason is None else _stopped(reason), status)

    def _tell(self, kind: NoticeKind, what: str, status: RunStatus) -> None:
        self._announcer.tell(
            Announcement(
                kind=kind,
                study=self._study.name,
                uuid=self._study.uuid,
                what=what,
                trial=status.best_trial,
                score=status.best,
                metric=self._study.spec.metric,
                done=status.done,
                total=status.total,
            )
        )


def _stopped(reason: StopReason) -> str:
    return f"stopped: {reason.in_words}"


def announce_failure(announcer: Announcer, study: StudyRow, problem: str) -> None:
    """The study cannot be searched here. `problem`: why, in a line."""
    announcer.tell(
        Announcement(NoticeKind.FAILING, study.name, study.uuid, without_secrets(problem))
    )
