"""How far a study is, and who works on it: for the page, and for `study watch`, which reads it
again and again while it runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuner.errors import StudyError
from tuner.storage.daemon_rows import DaemonRow, LoopRow, read_daemons, read_loops
from tuner.storage.running_trials import TrialAtWork, read_running_trials
from tuner.storage.schema import attempts, optuna_trials, slot_rows, studies
from tuner.storage.slots import best_score_in
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.storage.study_pace import read_pace
from tuner.study.ends import TrialEnd
from tuner.study.study_state import StudyState

# Transactions end in another order than their rows say: so far back an end may still appear.
_LATE_S = 5.0


@dataclass(frozen=True)
class EndedTrial:
    """An attempt that has ended. `score`: for a trial without one, its running best."""

    number: int
    end: TrialEnd
    score: float | None


@dataclass(frozen=True)
class StudyProgress:
    """A study at one moment. `done`: trials that have taken one of its `total` slots;
    `running_count`: those that run; `paused`: those that wait at a rung. `loops`: that work on it;
    `daemons`: all that might. `pace_s`: seconds from one trial's end to the next, None where nobody
    works or no trial has ended since."""

    state: StudyState
    total: int
    done: int
    running_count: int
    loops: Sequence[LoopRow] = ()
    daemons: Sequence[DaemonRow] = ()
    pace_s: float | None = None
    paused: int = 0

    @property
    def is_done(self) -> bool:
        return 0 < self.total <= self.done

    @property
    def left_s(self) -> float | None:
        """Seconds until all trials are done at the present pace; None where that is not known."""
        if self.pace_s is None or self.state is not StudyState.RUNNING or self.is_done:
            return None
        # Most of the paused trials never go on.
        return self.pace_s * max(0, self.total - self.done - self.paused)

    @property
    def state_word(self) -> str:
        """One word on what happens with the study."""
        if self.is_done:
            return "done"
        if self.state is not StudyState.RUNNING:
            return self.state.value
        if self.running_count or self.loops:
            return "running"
        return "waiting" if self.total else "new"


def read_progress(connection: sa.Connection, study: StudyRow) -> StudyProgress:
    """The study as it is now: a few short queries. Raises StudyError where it was deleted."""
    state = sa.select(studies.c.state).where(studies.c.uuid == study.uuid)
    if (row := connection.execute(state).first()) is None:
        raise StudyError(f"study {study.name!r} was deleted")
    total, done, claimed, paused = connection.execute(_count_slots(study)).one()
    loops = read_loops(connection, study)
    return StudyProgress(
        state=StudyState.read(row.state),
        total=total,
        done=done,
        running_count=claimed if loops else 0,
        loops=loops,
        daemons=read_daemons(connection),
        pace_s=read_pace(connection, study, loops) if done < total else None,
        paused=paused,
    )


@dataclass(frozen=True)
class WatchedStudy(StudyProgress):
    """The same, and its trials. `best`: the best score and its trial's number. `ended`: the
    attempts that have ended since it was read last; at first none."""

    best: tuple[float, int] | None = None
    running: tuple[TrialAtWork, ...] = ()
    ended: tuple[EndedTrial, ...] = ()


class ProgressReader:
    """Reads a study's progress. While no trial ends, that takes as long with 50 000 trials as
    with none."""

    def __init__(self, store: Store, study: StudyRow) -> None:
        self._store, self._study = store, study
        self._last: WatchedStudy | None = None
        self._ends = _Ends()

    def read(self) -> WatchedStudy:
        """The progress now, as one snapshot. Raises StudyError where the study was deleted."""
        self._last, self._ends = self._store.read(self._read)
        return self._last

    def _read(self, connection: sa.Connection) -> "tuple[WatchedStudy, _Ends]":
        study, last = self._study, self._last
        progress = read_progress(connection, study)
        running = tuple(read_running_trials(connection, study))
        ends, best = self._ends, None if last is None else last.best
        is_same = last is not None and progress.done == last.done
        if last is None or not is_same or not _attempts(last.running) <= _attempts(running):
            ends = self._ends.next(connection, study)
            if study.spec.selects:
                best = best_score_in(connection, study, study.spec.direction)
        watched = WatchedStudy(
            **vars(progress),
            best=best,
            running=running,
            ended=() if last is None or ends is self._ends else ends.new,
        )
        return watched, ends


def _count_slots(study: StudyRow) -> sa.Select[int, int, int, int]:
    done, claimed, paused = (
        sa.func.count(sa.case((slot_rows.c.state == state, 1)))
        for state in ("done", "claimed", "paused")
    )
    query = sa.select(sa.func.count(), done, claimed, paused)
    return query.where(slot_rows.c.study_id == study.study_id)


def _attempts(running: tuple[TrialAtWork, ...]) -> set[tuple[int, int]]:
    return {(trial.number, trial.attempt) for trial in running}


@dataclass(frozen=True)
class _Ends:
    """Attempts that have ended. `new`: those that had not before. `until`: the latest end, in
    seconds since 1970; `latest`: the attempts that ended shortly before."""

    new: tuple[EndedTrial, ...] = ()
    until: float | None = None
    latest: frozenset[tuple[int, int]] = frozenset()

    def next(self, connection: sa.Connection, study: StudyRow) -> "_Ends":
        of_study = attempts.c.study_uuid == study.uuid
        if self.until is None:  # what ended before the first reading is not told
            last_end = sa.select(sa.func.max(attempts.c.ended_at)).where(of_study)
            until = connection.execute(last_end).scalar() or 0.0
            rows = connection.execute(_ended_after(study, until - _LATE_S)).all()
            return _Ends((), until, frozenset((row.trial_id, row.attempt) for row in rows))
        rows = connection.execute(_ended_after(study, self.until - _LATE_S)).all()
        new = [row for row in rows if (row.trial_id, row.attempt) not in self.latest]
        return _Ends(
            tuple(EndedTrial(row.number, TrialEnd(row.end), row.score) for row in new),
            max([self.until, *(row.ended_at for row in rows)]),
            frozenset((row.trial_id, row.attempt) for row in rows),
        )


def _ended_after(study: StudyRow, at: float) -> sa.Select[Any]:
    columns = (attempts.c.trial_id, attempts.c.attempt, attempts.c.ended_at)
    return (
        sa.select(*columns, attempts.c.end, attempts.c.score, optuna_trials.c.number)
        .join(optuna_trials, optuna_trials.c.trial_id == attempts.c.trial_id)
        .where(attempts.c.study_uuid == study.uuid, attempts.c.ended_at > at)
        .where(attempts.c.end.in_([end.value for end in TrialEnd]))
        .order_by(attempts.c.ended_at, attempts.c.trial_id)
    )
