"""Why nothing happens with a study although trials are left, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.storage.daemon_rows import DaemonRow
from tuner.storage.studies import StudyRow
from tuner.storage.study_progress import StudyProgress
from tuner.study.study_state import StudyState
from tuner.system.names import command, in_command

# So many of those who could work on a study are named.
_MOST_NAMED = 4


@dataclass(frozen=True)
class Standstill:
    """`command`: what changes it, from any machine; "" where no command does. `foreground`: what
    trains the trials where it is typed; "" where that does not help."""

    reason: str
    command: str = ""
    foreground: str = ""

    @property
    def in_words(self) -> str:
        """For a terminal."""
        if self.foreground:
            service = f"or as a service, here or elsewhere: {self.command}"
            return f"{self.reason}; here: {self.foreground}\n{service}"
        return f"{self.reason}; to go on: {self.command}" if self.command else self.reason


def standstill_of(study: StudyRow, progress: StudyProgress) -> Standstill | None:
    """Why nothing happens although trials are left, and what to do; None where something does."""
    if progress.is_done or progress.loops:
        return None
    return explain_standstill(study, progress.state, progress.total, progress.daemons)


def explain_standstill(
    study: StudyRow, state: StudyState, total: int, daemons: Sequence[DaemonRow]
) -> Standstill:
    """Of a study with trials left that no loop works on. `state`, `total`: its present ones.
    `daemons`: all that are alive."""
    name = in_command(study.name)
    if state is not StudyState.RUNNING:
        return Standstill(str(state), command("study", "resume", name))
    if study.spec.is_comparison:
        return Standstill("nobody works on it; to go on, repeat its compare command")
    if not total:
        to_ask = command("study", "set", name, "--trials", 100)
        return Standstill("no trials are asked for yet", to_ask)
    skipping = [daemon for daemon in daemons if study.name in daemon.skipped]
    takers = [each for each in daemons if each not in skipping and each.takes(study.name)]
    if takers:
        named = "; ".join(map(str, takers[:_MOST_NAMED]))
        return Standstill(f"it waits for a free process of {named}")
    if skipping:
        reasons = [f"{each} leaves it alone: {each.skipped[study.name]}" for each in skipping]
        return Standstill(f"nobody works on it: {'; '.join(reasons[:_MOST_NAMED])}")
    search = command("optimize", name, "--trials", total)
    return Standstill("nobody works on it", command("worker"), search)
