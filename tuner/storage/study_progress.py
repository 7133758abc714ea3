"""How far a study is, read again and again while it runs: for `study watch` and the page."""

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
    """A study at one moment. `done`: trials that have taken one of its `total` slots. `best`: the
    best score and its trial's number. `at_work`: the loops that work on it; `daemons`: all that
    might. `ended`: the attempts that have ended since it was read last; at first none. `pace_s`:
    seconds from one trial's end to the next, None where that is not known."""

    state: StudyState
    total: int
    done: int
    best: tuple[float, int] | None
    at_work: tuple[LoopRow, ...]
    daemons: tuple[DaemonRow, ...]
    running: tuple[TrialAtWork, ...]
    ended: tuple[EndedTrial, ...]
    pace_s: float | None = None

    @property
    def is_done(self) -> bool:
        return 0 < self.total == self.done


class ProgressReader:
    """Reads a study's progress. While no trial ends, that takes as long with 50 000 trials as
    with none."""

    def __init__(self, store: Store, study: StudyRow) -> None:
        self._store, self._study = store, study
        self._last: StudyProgress | None = None
        self._ends = _Ends()

    def read(self) -> StudyProgress:
        """The progress now, as one snapshot. Raises StudyError where the study was deleted."""
        self._last, self._ends = self._store.read(self._read)
        return self._last

    def _read(self, connection: sa.Connection) -> "tuple[StudyProgress, _Ends]":
        study, last = self._study, self._last
        state = sa.select(studies.c.state).where(studies.c.uuid == study.uuid)
        if (row := connection.execute(state).first()) is None:
            raise StudyError(f"study {study.name!r} was deleted")
        total, done = connection.execute(_count_slots(study)).one()
        running = tuple(read_running_trials(connection, study))
        ends, best = self._ends, None if last is None else last.best
        if last is None or done != last.done or not _attempts(last.running) <= _attempts(running):
            ends = self._ends.next(connection, study)
            if study.spec.selects:
                best = best_score_in(connection, study, study.spec.direction)
        loops = tuple(read_loops(connection, study))
        progress = StudyProgress(
            state=StudyState.read(row.state),
            total=total,
            done=done,
            best=best,
            at_work=loops,
            daemons=tuple(read_daemons(connection)),
            running=running,
            ended=() if last is None or ends is self._ends else ends.new,
            pace_s=read_pace(connection, study, loops),
        )
        return progress, ends


def _count_slots(study: StudyRow) -> sa.Select[int, int]:
    is_done = sa.case((slot_rows.c.state == "done", 1))
    query = sa.select(sa.func.count(), sa.func.count(is_done))
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
