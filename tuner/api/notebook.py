"""Studies, trials and a search's progress as HTML, for notebooks. IPython is used only where it
runs already."""

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from tuner.runner.progress import RunStatus
from tuner.study.ends import TrialEnd


class ShownTrial(Protocol):
    """What is shown of a `tuner.Trial`. `metrics`: at its best epoch, by name."""

    @property
    def number(self) -> int: ...
    @property
    def end(self) -> Any: ...
    @property
    def value(self) -> float | None: ...
    @property
    def params(self) -> Mapping[str, Any]: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...
    @property
    def seconds(self) -> float | None: ...
    @property
    def error(self) -> str | None: ...


class ShownStudy(Protocol):
    """What is shown of a `tuner.Study`."""

    @property
    def name(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def direction(self) -> str: ...
    @property
    def trials(self) -> Sequence[ShownTrial]: ...


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


def study_html(study: ShownStudy) -> str:
    """A study as a small table: its name, how its trials ended, its best trials."""
    raise NotImplementedError


def trial_html(trial: ShownTrial) -> str:
    """A trial as a small table: how it ended, its score, its parameters."""
    raise NotImplementedError


class CellProgress:
    """Shows a search's progress in the cell that runs it: a `runner.progress.Watcher`, to be used
    as a context manager, like the commands' `Display`. One summary is left at the end."""

    def __init__(self, study: str, metric: str) -> None:
        self._study, self._metric = study, metric

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
        """Show what happens before and after the trials."""

    def changed(self, status: RunStatus) -> None:
        return

    def trial_ended(
        self, status: RunStatus, trial: int, end: TrialEnd, value: float | None, is_best: bool
    ) -> None:
        return
