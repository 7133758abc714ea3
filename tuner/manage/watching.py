"""Following a study that runs somewhere: its progress from SQL, as a search shows its own."""

import time
from collections.abc import Callable, Sequence

from tuner.manage.standstill import explain_standstill
from tuner.runner import RunStatus, Watcher
from tuner.runner.progress import WorkerStatus, refresh_expected
from tuner.storage import Store
from tuner.storage.daemon_rows import LoopRow
from tuner.storage.running_trials import TrialAtWork
from tuner.storage.studies import StudyRow
from tuner.storage.study_progress import ProgressReader, StudyProgress, WatchedStudy
from tuner.storage.trials import summarize
from tuner.study.ends import Fate, TrialEnd
from tuner.study.study_state import StudyState

_EVERY_S = 1.0
# So many who work on a study are named.
_MOST_NAMED = 4
_ENDS = {end.value: end for end in TrialEnd}


def watch_study(
    store: Store,
    study: StudyRow,
    watcher: Watcher,
    tell: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> RunStatus:
    """Tell the watcher how far the study is, once a second, until all its trials are done; the
    status then. `tell` gets a line when the study's state changes, or who works on it. Raises
    StudyError where the study is deleted meanwhile."""
    reader, read_at = ProgressReader(store, study), time.monotonic()
    status = RunStatus(total=0)
    for name, count in summarize(store, study).ends.items():
        if name in _ENDS:
            status.ended[_ENDS[name]] = count
    last_note = ""
    while True:
        progress = reader.read()
        clock = time.monotonic()
        if progress.running:
            status.elapsed_s += clock - read_at
        read_at = clock
        _take(status, progress, study)
        if "until_sure" in study.limits:
            refresh_expected(store, study, study.spec, status)
        if status.note != last_note:
            last_note = status.note
            tell(last_note)
        _tell_ends(status, progress, watcher)
        watcher.changed(status)
        if progress.is_done:
            return status
        sleep(_EVERY_S)


def _take(status: RunStatus, progress: WatchedStudy, study: StudyRow) -> None:
    status.total, status.done, status.paused = progress.total, progress.done, progress.paused
    status.pace_s = progress.pace_s
    if progress.best is not None:
        status.best, status.best_trial = progress.best
    several = len(progress.loops) > 1
    status.workers = [_worker(trial, several) for trial in progress.running]
    places = [trial.place_text for trial in progress.running]
    status.places = {n: place for n, place in enumerate(places) if place is not None}
    status.note = describe_work(study, progress)


def _worker(trial: TrialAtWork, several: bool) -> WorkerStatus:
    where = f"{trial.host} {trial.pid} " if several else ""
    name = f"{where}worker {trial.worker}"
    return WorkerStatus(trial.number, trial.epoch, trial.epochs, trial.best, name)


def _tell_ends(status: RunStatus, progress: WatchedStudy, watcher: Watcher) -> None:
    for ended in progress.ended:
        if ended.end.is_put_back_on_purpose:
            continue
        status.ended[ended.end] = status.ended.get(ended.end, 0) + 1
        status.done_here += ended.end.fate.takes_slot
        is_best = ended.end.fate is Fate.COMPLETE and ended.number == status.best_trial
        watcher.trial_ended(status, ended.number, ended.end, ended.score, is_best)


def describe_work(study: StudyRow, progress: StudyProgress) -> str:
    """Who works on a study that is not done; if nobody does, or it stands still, what to do."""
    if progress.is_done:
        return ""
    if progress.state is StudyState.RUNNING and progress.loops:
        return f"at work: {describe_loops(progress.loops)}"
    return explain_standstill(study, progress.state, progress.total, progress.daemons).in_words


def describe_loops(loops: Sequence[LoopRow]) -> str:
    """The loops, each with its machine and process."""
    named = [f"{loop}{', a daemon' if loop.daemon_id else ''}" for loop in loops[:_MOST_NAMED]]
    more = len(loops) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")
