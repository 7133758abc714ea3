"""Studies, trials and a search's progress as HTML, for notebooks. IPython is used only where it
runs already.

Colours are those of the page, so that all is readable on light and on dark ones. Names and values
come from a database: each is escaped.
"""

import contextlib
import html
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from tuner.runner.progress import RunStatus, WorkerStatus
from tuner.study.ends import TrialEnd, outcome
from tuner.study.messages import Direction, rank
from tuner.values import clipped, format_duration, format_number

_BEST_TRIALS = 5
_MOST_COLUMNS = 8
_LONGEST = 60
_LONGEST_ERROR = 3000
_REDRAW_EVERY_S = 0.3
_MOST_LINES = 5
_ACCENT = "#3b82f6"
_LINE = "1px solid rgba(128,128,128,.35)"


class ShownTrial(Protocol):
    """What is shown of a `tuner.Trial`. `metrics`: at its best epoch, by name."""

    @property
    def number(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def end(self) -> str | None: ...
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
    def direction(self) -> Direction: ...
    @property
    def trials(self) -> Sequence[ShownTrial]: ...


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return hasattr(get_shell(), "kernel") if get_shell is not None else False


def study_html(study: ShownStudy) -> str:
    """A study as a small table: how its trials ended, and its best trials with the parameters that
    vary."""
    trials = study.trials
    counts = Counter(map(_outcome, trials))
    ends = ", ".join(f"{count} {end}" for end, count in counts.most_common()) or "no trial yet"
    title = f"<b>study {_text(study.name)}</b>, {_text(study.metric)} ({_text(study.direction)})"
    head = f"<div>{title}: {_text(ends)}</div>"
    best = _best_first(trials, study.direction)[:_BEST_TRIALS]
    if not best:
        return _block(head)
    varying = _varying(trials)
    names = varying[:_MOST_COLUMNS]
    rows = [
        [trial.number, format_number(trial.value), *(trial.params.get(name, "") for name in names)]
        for trial in best
    ]
    more = len(varying) - len(names)
    note = f"<div>and {more} more parameters that vary</div>" if more else ""
    return _block(head + _table(["trial", study.metric, *names], rows) + note)


def _outcome(trial: ShownTrial) -> str:
    """The trial's state; of one that ended unusually how that was."""
    is_over = trial.end in set(TrialEnd) and trial.state not in ("running", "waiting")
    if is_over and not TrialEnd(str(trial.end)).is_usual:
        return _words(str(trial.end))
    return trial.state


def _best_first(trials: Sequence[ShownTrial], direction: Direction) -> list[ShownTrial]:
    scores = [
        (rank(trial.value, direction), trial.number, trial)
        for trial in trials
        if trial.state == "complete" and trial.value is not None
    ]
    return [trial for _, _, trial in sorted(scores, key=lambda score: score[:2])]


def _varying(trials: Iterable[ShownTrial]) -> list[str]:
    """The parameters of which trials have different values."""
    values: dict[str, set[str]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(repr(value))
    return [name for name, different in values.items() if len(different) > 1]


def trial_html(trial: ShownTrial, varying: Iterable[str] | None = None) -> str:
    """A trial as small tables: how it ended, the metrics of its best epoch, its parameters: those
    that vary in the study, else all."""
    end = _words(outcome(trial.state, trial.end))
    took = f", {format_duration(trial.seconds)}" if trial.seconds is not None else ""
    value = f", score {format_number(trial.value)}" if trial.value is not None else ""
    head = f"<div><b>trial {_text(trial.number)}</b>: {_text(end + value + took)}</div>"
    metrics = [[name, format_number(number)] for name, number in trial.metrics.items()]
    names = trial.params if varying is None else varying
    params = [[name, trial.params[name]] for name in names if name in trial.params]
    tables = [
        _table([title, ""], rows)
        for title, rows in (("best epoch", metrics), ("parameter", params))
        if rows
    ]
    beside = "display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start"
    error = ""
    if trial.error:
        style = "white-space:pre-wrap;max-height:20em;overflow:auto"
        text = html.escape(trial.error[-_LONGEST_ERROR:])
        error = f'<pre style="{style}">{text}</pre>'
    return _block(f'{head}<div style="{beside}">{"".join(tables)}</div>{error}')


def _words(end: str) -> str:
    return end.replace("_", " ")


def _text(value: object) -> str:
    """A value as it may stand in HTML, in one line, cut where it is long."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return html.escape(clipped(" ".join(text.split()), _LONGEST))


def _block(content: str) -> str:
    return f'<div style="color:inherit;line-height:1.5">{content}</div>'


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cell = "text-align:left;padding:2px 10px 2px 0"
    top = "".join(f'<th style="{cell};border-bottom:{_LINE}">{_text(name)}</th>' for name in header)
    lines = ["".join(f'<td style="{cell}">{_text(value)}</td>' for value in row) for row in rows]
    body = "".join(f'<tr style="background:none">{line}</tr>' for line in lines)
    style = "border-collapse:collapse;margin:.3em 0;color:inherit;font-size:inherit"
    return f'<table style="{style}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


class CellProgress:
    """Shows a search's progress in the cell that runs it: a `runner.progress.Watcher`, to be used
    as a context manager, like the commands' `Display`. One line is left at the end, below the lines
    of trials that failed."""

    def __init__(self, study: str, metric: str) -> None:
        self._study, self._metric = study, metric
        self._status: RunStatus | None = None
        self._lines: list[str] = []
        self._handle: Any = None
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        from IPython.display import display

        with _display_errors_ignored():
            self._handle = display(_Picture(f"study {self._study}"), display_id=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end = ""
        if kind is not None:
            end = ", interrupted" if issubclass(kind, KeyboardInterrupt) else ", ended by an error"
        self._draw(f"{self._summary(is_over=True)}{end}")

    def stage(self, text: str) -> None:
        """Show what happens before and after the trials."""
        self._draw(f"{text} …")

    def changed(self, status: RunStatus) -> None:
        self._status = status
        if time.monotonic() - self._drawn_at >= _REDRAW_EVERY_S:
            self._draw(self._summary(), status)

    def trial_ended(
        self, status: RunStatus, trial: int, end: TrialEnd, value: float | None, is_best: bool
    ) -> None:
        self._status = status
        if not end.is_usual and end is not TrialEnd.TARGET:
            self._lines = [*self._lines, f"trial {trial}: {_words(end)}"][-_MOST_LINES:]

    def _summary(self, is_over: bool = False) -> str:
        status = self._status
        if status is None:
            return f"study {self._study}"
        parts = [f"study {self._study}", f"{status.done}/{status.total} trials"]
        if status.best is not None:
            parts.append(
                f"best {self._metric} {format_number(status.best)} (trial {status.best_trial})"
            )
        if pruned := status.ended.get(TrialEnd.PRUNED, 0):
            parts.append(f"{pruned} pruned")
        if status.paused:
            parts.append(f"{status.paused} paused")
        parts.append(format_duration(status.elapsed_s))
        if not is_over and status.left_s is not None:
            parts.append(f"{format_duration(status.left_s)} left")
        return ", ".join(parts)

    def _draw(self, text: str, status: RunStatus | None = None) -> None:
        self._drawn_at = time.monotonic()
        if self._handle is None:
            return
        with _display_errors_ignored():
            self._handle.update(_Picture(text, self._lines, self._metric, status))


@contextlib.contextmanager
def _display_errors_ignored() -> Iterator[None]:
    """A search goes on where its notebook is gone: what then raises depends on the kernel."""
    with contextlib.suppress(Exception):
        yield


class _Picture:
    """What a cell shows of a search: HTML, and plain text where HTML is not shown. `status`: of a
    running search."""

    def __init__(
        self,
        text: str,
        lines: Sequence[str] = (),
        metric: str = "",
        status: RunStatus | None = None,
    ) -> None:
        self._text = text
        failed = "".join(f"<div>{_text(line)}</div>" for line in lines)
        bars = "" if status is None else _bars(status, metric)
        self._html = _block(f"{failed}{bars}<div>{html.escape(text)}</div>")

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._html


def _bars(status: RunStatus, metric: str) -> str:
    """A bar of the trials that are done, and a line for each worker."""
    workers = [
        [_worker_name(status, number), *_worker_cells(worker, metric)]
        for number, worker in enumerate(status.workers)
    ]
    table = _table(["", "trial", "epoch", "best so far"], workers) if workers else ""
    return _bar(status.done, status.total) + table


def _worker_name(status: RunStatus, number: int) -> str:
    place = status.places.get(number)
    return f"worker {number}" + (f" on {place}" if place is not None else "")


def _worker_cells(worker: WorkerStatus, metric: str) -> list[object]:
    if worker.trial is None:
        return ["idle", "", ""]
    value = "" if worker.value is None else f"{metric} {format_number(worker.value)}"
    return [worker.trial, worker.epoch_text, value]


def _bar(part: int, whole: int) -> str:
    percent = round(100 * min(1.0, part / whole)) if whole else 0
    back = "background:rgba(128,128,128,.25);border-radius:4px;width:20em;max-width:100%"
    fill = f"background:{_ACCENT};border-radius:4px;height:.6em;width:{percent}%"
    return f'<div style="{back}"><div style="{fill}"></div></div>'
