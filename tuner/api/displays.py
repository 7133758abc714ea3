"""What a search shows while it runs in a script, and the callbacks that it calls."""

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from tuner.api.notebook import CellProgress, in_notebook
from tuner.errors import UsageError
from tuner.runner.progress import RunStatus, Watcher, describe_end
from tuner.study.ends import TrialEnd
from tuner.values import shown

if TYPE_CHECKING:
    from tuner.api.studies import Study
    from tuner.api.trials import Trial

Callback = Callable[["Study", "Trial"], object]


class SearchDisplay(Watcher, Protocol):
    """Shows a search while it is entered."""

    def stage(self, text: str) -> None:
        """Show what happens before and after the trials."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class LineProgress:
    """Prints a line on stderr for each trial that ends; silent unless `is_shown`."""

    def __init__(self, metric: str, is_shown: bool) -> None:
        self._metric, self._is_shown = metric, is_shown

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return

    def stage(self, text: str) -> None:
        self._print(f"{text} …")

    def changed(self, status: RunStatus) -> None:
        return

    def trial_ended(
        self, status: RunStatus, trial: int, end: TrialEnd, value: float | None, is_best: bool
    ) -> None:
        self._print(describe_end(status, self._metric, trial, end, value, is_best))

    def _print(self, line: str) -> None:
        if not self._is_shown:
            return
        try:
            print(line, file=sys.stderr, flush=True)
        except (OSError, ValueError):  # a closed terminal ends the lines, not the search
            self._is_shown = False


def open_display(progress: "bool | SearchDisplay | None", study: str, metric: str) -> SearchDisplay:
    """What shows a search. `progress`: None or True show it, in a notebook in the cell, else in
    lines; False shows nothing; an object with the methods of SearchDisplay shows it itself. Raises
    UsageError."""
    if progress is None or isinstance(progress, bool):
        is_shown = progress is not False
        if is_shown and in_notebook():
            return CellProgress(study, metric)
        return LineProgress(metric, is_shown)
    methods = ("stage", "changed", "trial_ended", "__enter__", "__exit__")
    missing = [name for name in methods if not callable(getattr(progress, name, None))]
    if missing:
        raise UsageError(
            f"progress must be True, False, or an object with the method {missing[0]}, "
            f"got {shown(progress)}"
        )
    return progress


class CallbackWatcher:
    """Passes on what happens, and calls functions with each trial that has ended. `read`: the trial
    of a number."""

    def __init__(
        self,
        progress: SearchDisplay,
        study: "Study",
        callbacks: Sequence[Callback],
        read: "Callable[[int], Trial]",
    ) -> None:
        self._progress, self._study, self._read = progress, study, read
        self._callbacks = callbacks

    def changed(self, status: RunStatus) -> None:
        self._progress.changed(status)

    def trial_ended(
        self, status: RunStatus, trial: int, end: TrialEnd, value: float | None, is_best: bool
    ) -> None:
        self._progress.trial_ended(status, trial, end, value, is_best)
        if not self._callbacks:
            return
        ended = self._read(trial)
        if ended.state in ("waiting", "running"):  # it was put back
            return
        for callback in self._callbacks:
            callback(self._study, ended)
