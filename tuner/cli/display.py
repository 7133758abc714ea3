"""The live display of a search, and its plain form where the output is no terminal."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuner.cli.output import complain, console, duration, one_line
from tuner.optimize.board import Board
from tuner.streams import discard_stdout

_PLAIN_EVERY_S = 10.0


class Display:
    """Watches a loop: a live picture in a terminal, a line a finished trial elsewhere."""

    def __init__(self, metric: str, quiet: bool) -> None:
        self._metric, self._quiet = metric, quiet
        self._live: Live | None = None
        if not quiet and sys.stdout.isatty():
            self._live = Live(console=console(), refresh_per_second=8, transient=True)
        self._said_at = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def stage(self, text: str) -> None:
        """What is going on outside the loop."""
        if self._live is not None:
            self._live.update(Text(f"{one_line(text)} …", style="dim"))
        elif not self._quiet:
            self._print(f"{one_line(text)} …")

    def _print(self, line: str) -> None:
        """A reader that went away, or a full disk, is no reason to end a search."""
        try:
            print(line, flush=True)
        except OSError as error:
            self._quiet = True
            discard_stdout()
            complain(f"the output cannot be written ({error.strerror}); the search goes on")

    def changed(self, board: Board) -> None:
        if self._live is not None:
            self._live.update(self._picture(board))

    def trial_ended(
        self, board: Board, trial: int, end: str, value: float | None, is_best: bool
    ) -> None:
        if self._quiet:
            return
        line = self._line(board, trial, end, value, is_best)
        if self._live is not None:
            # The picture shows all others; new bests and troubles stay on the screen.
            if is_best or end not in ("complete", "early_stopped", "pruned"):
                self._live.console.print(line, highlight=False, markup=False)
        elif is_best or time.monotonic() - self._said_at > _PLAIN_EVERY_S or board.total <= 200:
            self._said_at = time.monotonic()
            self._print(line)

    def _line(self, board: Board, trial: int, end: str, value: float | None, is_best: bool) -> str:
        number = f"{value:.4f}" if value is not None else "–"
        star = "  new best" if is_best else ""
        width = len(str(board.total))
        words = end.replace("_", " ")
        return (
            f"{board.done:>{width}}/{board.total}  trial {trial:<4} {words:<14} "
            f"{self._metric} {number}{star}"
        )

    def _picture(self, board: Board) -> Group:
        best = "–" if board.best is None else f"{board.best:.4f} (trial {board.best_trial})"
        pruned = board.ended.get("pruned", 0)
        other = sum(
            count
            for end, count in board.ended.items()
            if end not in ("complete", "early_stopped", "target", "pruned")
        )
        head = Table.grid(padding=(0, 2))
        head.add_row(
            ProgressBar(total=board.total, completed=board.done, width=30),
            f"{board.done}/{board.total} trials",
            f"best {self._metric} {best}",
            f"pruned {pruned}" + (f", other ends {other}" if other else ""),
            f"{duration(board.elapsed_s)} gone, {duration(board.left_s)} left",
        )
        slots = Table.grid(padding=(0, 2))
        for number, slot in enumerate(board.slots):
            if slot.trial is None:
                slots.add_row(f"worker {number}", Text("idle", style="dim"), "", "")
                continue
            value = "" if slot.value is None else f"{self._metric} {slot.value:.4f}"
            bar = ProgressBar(total=slot.epochs, completed=slot.epoch, width=16)
            progress = f"epoch {slot.epoch}/{slot.epochs}"
            slots.add_row(f"worker {number}", f"trial {slot.trial}", bar, progress, value)
        return Group(head, slots)
