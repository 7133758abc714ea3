"""A line for each study: what the start page shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tuner.errors import SpecError
from tuner.storage import Store
from tuner.storage.daemon_rows import LoopRow, list_loops
from tuner.storage.studies import StudyRow
from tuner.storage.study_overviews import StudyOverview, read_overviews
from tuner.storage.study_progress import StudyProgress
from tuner.study.messages import Direction
from tuner.study.spec import StudySpec
from tuner.study.study_state import StudyState


@dataclass(frozen=True)
class StudyFacts:
    """What a line says of a study's definition. `selects`: whether some trial is its best one."""

    metric: str
    direction: Direction
    selects: bool
    source: str
    network: str


@dataclass(frozen=True)
class StudyLine:
    """A study in one line. `best`: its best score. `facts`: None for a definition that cannot be
    read. `damage`: what cannot be read of it. `mark` changes as its trials begin and end."""

    study: StudyRow
    progress: StudyProgress
    facts: StudyFacts | None = None
    failed: int = 0
    best: float | None = None
    damage: str | None = None
    mark: str = ""

    @property
    def waits(self) -> bool:
        """Whether trials are left that may run, and nobody is at work on them."""
        progress = self.progress
        is_asked_for = progress.state is StudyState.RUNNING and progress.done < progress.total
        return is_asked_for and not progress.loops


def read_study_lines(store: Store) -> list[StudyLine]:
    """All studies, newest first."""
    loops = list_loops(store)
    return [_line(overview, loops) for overview in read_overviews(store)]


def _line(overview: StudyOverview, loops: Sequence[LoopRow]) -> StudyLine:
    study, counts = overview.study, overview.slots
    own_loops = [loop for loop in loops if loop.study_uuid == study.uuid]
    progress = StudyProgress(
        state=study.state,
        total=sum(counts.values()),
        done=counts.get("done", 0),
        running_count=counts.get("claimed", 0) if own_loops else 0,
        loops=own_loops,
        paused=counts.get("paused", 0),
    )
    facts = _facts(study.definition)
    if isinstance(facts, str):
        return StudyLine(study, progress, damage=study.damage or facts)
    best = overview.highest if facts.direction == "maximize" else overview.lowest
    return StudyLine(
        study,
        progress,
        facts,
        failed=overview.states.get("FAIL", 0),
        best=best if facts.selects else None,
        damage=study.damage,
        mark=repr(sorted(overview.states.items())),
    )


# A definition never changes, and takes 1 ms to read.
@lru_cache(maxsize=1000)
def _facts(definition: str) -> StudyFacts | str:
    """What a line says of a definition; what is wrong with one that cannot be read."""
    try:
        spec = StudySpec.from_json(definition)
    except SpecError as error:
        return str(error)
    return StudyFacts(
        spec.metric, spec.direction, spec.selects, spec.data_source, spec.space.network
    )
