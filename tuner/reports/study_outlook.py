"""How far a study is, who works on it, and how long it will take: for its page."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.manage.standstill import Standstill, explain_standstill
from tuner.storage import Store, slots
from tuner.storage.daemon_rows import DaemonRow, LoopRow, list_daemons, read_loops
from tuner.storage.studies import StudyRow
from tuner.storage.study_pace import read_pace
from tuner.study.study_state import StudyState


@dataclass(frozen=True)
class StudyOutlook:
    """`total`, `done`, `running`: of the study's slots. `loops`: those that work on it now.
    `left_s`: seconds until all are done at the present pace, None where nobody works or no trial
    has ended since. `daemons`: all that are alive."""

    state: StudyState
    total: int
    done: int
    running: int
    loops: Sequence[LoopRow] = ()
    left_s: float | None = None
    daemons: Sequence[DaemonRow] = ()

    @property
    def is_done(self) -> bool:
        return 0 < self.total <= self.done

    @property
    def state_word(self) -> str:
        """One word on what happens with the study."""
        if self.is_done:
            return "done"
        if self.state is not StudyState.RUNNING:
            return self.state.value
        if self.running or self.loops:
            return "running"
        return "waiting" if self.total else "new"


def read_outlook(store: Store, study: StudyRow) -> StudyOutlook:
    """The study as it is now: a few short queries."""
    counts = slots.slot_counts(store, study)
    total, done = sum(counts.values()), counts.get("done", 0)
    loops = store.read(read_loops, study)
    pace_s = store.read(read_pace, study, loops) if done < total else None
    is_running = study.state is StudyState.RUNNING
    return StudyOutlook(
        state=study.state,
        total=total,
        done=done,
        running=counts.get("claimed", 0) if loops else 0,
        loops=loops,
        left_s=pace_s * (total - done) if pace_s is not None and is_running else None,
        daemons=list_daemons(store),
    )


def standstill(study: StudyRow, outlook: StudyOutlook) -> Standstill | None:
    """Why nothing happens although trials are left, and what to do; None where something does."""
    if outlook.is_done or outlook.loops:
        return None
    return explain_standstill(study, outlook.state, outlook.total, outlook.daemons)
