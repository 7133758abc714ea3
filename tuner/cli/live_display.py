"""The live display of a search in a terminal; elsewhere a line for each trial that ends."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.text import Text

from tuner.cli.output import complain, console, escape_controls, one_line, wrap_line
from tuner.runner.progress import RunStatus, WorkerStatus, describe_end
from tuner.study.ends import TrialEnd
from tuner.system.start_up import discard_stdout
from tuner.values import format_duration, format_number

# Outside a terminal a long search prints a line this often, and for each new best.
_PLAIN_EVERY_S = 10.0
_REDRAW_EVERY_S = 0.125
_PRINT_ALL_UP_TO = 200  # trials
_GAP = 2
# Lines of the terminal that the display leaves free.
_OTHER_LINES = 4
_FEWEST_WORKERS = 4


class Display:
    """Shows a search while it runs. If the output cannot be written, the search continues without
    a display."""

    def __init__(self, metric: str, quiet: bool) -> None:
        self._metric, self._quiet = metric, quiet
        self._live: Live | None = None
        if not quiet and sys.stdout.isatty():
            # No refresh thread: a write error in it would print a traceback.
            self._live = Live(console=console(), auto_refresh=False, transient=True)
        self._printed_at = self._drawn_at = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            with self._output_errors_caught():
                self._live.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            with self._output_errors_caught():
                self._live.stop()

    def stage(self, text: str) -> None:
        """Show what happens before and after the trials."""
        line = f"{one_line(text)} …"
        if self._live is not None:
            self._draw(Text(line, style="dim"))
        elif not self._quiet:
            self._print(line)

    def line(self, text: str) -> None:
        """Print what is more than a stage outside a terminal, where the picture does not show
        it."""
        if text and self._live is None and not self._quiet:
            self._print(escape_controls(text))

    def _print(self, line: str) -> None:
        with self._output_errors_caught():
            print(line, flush=True)

    def _draw(self, picture: RenderableType) -> None:
        assert self._live is not None
        self._drawn_at = time.monotonic()
        with self._output_errors_caught():
            self._live.update(picture, refresh=True)

    @contextlib.contextmanager
    def _output_errors_caught(self) -> Iterator[None]:
        """A closed pipe or terminal, or a full disk, ends the display but not the search."""
        try:
            yield
        except (OSError, ValueError) as error:
            self._quiet = True
            discard_stdout()
            if self._live is not None:
                live, self._live = self._live, None
                with contextlib.suppress(OSError, ValueError):
                    live.stop()  # It redirects stdout and stderr until then.
            why = getattr(error, "strerror", None) or error
            complain(f"the output cannot be written ({why}); the search continues")

    def changed(self, status: RunStatus) -> None:
        if self._live is not None and time.monotonic() - self._drawn_at >= _REDRAW_EVERY_S:
            self._draw(Picture(status, self._metric))

    def trial_ended(
        self, status: RunStatus, trial: int, end: TrialEnd, value: float | None, is_best: bool
    ) -> None:
        if self._quiet:
            return
        line = describe_end(status, self._metric, trial, end, value, is_best)
        if self._live is not None:
            # The display shows the others. New bests and failures stay on the screen.
            if is_best or not end.is_usual or end is TrialEnd.TARGET:
                with self._output_errors_caught():
                    self._live.console.print(line, highlight=False, markup=False, soft_wrap=True)
        elif (
            is_best
            or time.monotonic() - self._printed_at > _PLAIN_EVERY_S
            or (status.total <= _PRINT_ALL_UP_TO)
        ):
            self._printed_at = time.monotonic()
            self._print(line)


class Picture:
    """A search's state, in lines that fit the terminal. What has no room in a line moves to the
    next one; nothing is cut."""

    def __init__(self, status: RunStatus, metric: str) -> None:
        self._status, self._metric = status, metric

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        done, left = ("━", "─") if options.encoding.startswith("utf") else ("=", "-")
        self._strokes = done, left
        yield from _flow(self._summary(width), width)
        if self._status.note:
            yield from map(Text, _note_lines(self._status.note, width))
        workers = self._status.workers
        most = max(_FEWEST_WORKERS, options.size.height - _OTHER_LINES)
        if len(workers) > most:
            workers = workers[: most - 1]
        yield from _align([self._worker(*each) for each in enumerate(workers)], width)
        hidden = len(self._status.workers) - len(workers)
        if hidden:
            yield Text(f"and {hidden} more workers", style="dim")

    def _summary(self, width: int) -> list[Text]:
        status = self._status
        found_by = "" if status.best is None else f" (trial {status.best_trial})"
        pruned = status.ended.get(TrialEnd.PRUNED, 0)
        other = sum(count for end, count in status.ended.items() if not end.is_usual)
        paused = f", paused {status.paused}" if status.paused else ""
        elapsed, left = format_duration(status.elapsed_s), format_duration(status.left_s)
        places = [Text(status.places_text)] if status.places else []
        gain = status.expected
        expected = [] if gain is None else [Text(f"expected gain {format_number(gain.gain)}")]
        return [
            self._bar(status.done, status.total, min(30, width // 4)),
            Text(f"{status.done}/{status.total} trials"),
            Text(f"best {self._metric} {format_number(status.best)}{found_by}"),
            Text(f"pruned {pruned}{paused}" + (f", other ends {other}" if other else "")),
            Text(f"{elapsed} elapsed, {left} left"),
            *expected,
            *places,
        ]

    def _worker(self, number: int, worker: WorkerStatus) -> list[Text]:
        name = Text(worker.name or f"worker {number}")
        if (place := self._status.places.get(number)) is not None:
            name.append(f" on {place}", style="dim")
        if worker.trial is None:
            return [name, Text("idle", style="dim"), Text(), Text(), Text()]
        return [
            name,
            Text(f"trial {worker.trial}"),
            self._bar(worker.epoch, worker.epochs or 0, 16),
            Text(f"epoch {worker.epoch_text}"),
            Text("" if worker.value is None else f"{self._metric} {format_number(worker.value)}"),
        ]

    def _bar(self, part: int, whole: int, width: int) -> Text:
        done, left = self._strokes
        length = round(width * min(1.0, part / whole)) if whole else 0
        return Text.assemble((done * length, "green"), (left * (width - length), "dim"))


def _note_lines(note: str, width: int) -> list[str]:
    return [line for each in note.split("\n") for line in wrap_line(each, width).split("\n")]


def _align(rows: Sequence[Sequence[Text]], width: int) -> Iterator[Text]:
    """The rows as a table, if it fits the width; else each row flows into lines of its own."""
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    if sum(widths) + _GAP * (len(widths) - 1) <= width:
        for row in rows:
            for cell, size in zip(row, widths, strict=True):
                cell.pad_right(size - cell.cell_len)
    for row in rows:
        yield from _flow([cell for cell in row if cell.cell_len], width)


def _flow(pieces: Iterable[Text], width: int) -> Iterator[Text]:
    """The pieces in lines, each with as many pieces as fit."""
    line = Text()
    for piece in pieces:
        if line.cell_len and line.cell_len + _GAP + piece.cell_len > width:
            yield line
            line = Text()
        if line.cell_len:
            line.append(" " * _GAP)
        line.append_text(piece)
    yield line
