"""A line on stderr that says how many rows are done."""

import sys
import time
from types import TracebackType
from typing import Self

_EVERY_S = 0.25


class RowProgress:
    """Drawn while it is entered, where stderr is a terminal. `total`: None if it is not known."""

    def __init__(self, total: int | None) -> None:
        self._of_rows = "" if total is None else f" of {total:,}"
        self._is_shown, self._drawn_at = sys.stderr.isatty(), 0.0

    def __enter__(self) -> Self:
        self._draw("reading the data and loading the network …")
        return self

    def count(self, rows: int) -> None:
        """So many rows are done."""
        if time.monotonic() - self._drawn_at > _EVERY_S:
            self._draw(f"{rows:,}{self._of_rows} rows …")

    def _draw(self, text: str) -> None:
        self._drawn_at = time.monotonic()
        if self._is_shown:
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._draw("")
