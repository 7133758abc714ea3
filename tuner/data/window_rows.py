"""Windows over the rows of one array: each row is in memory, or on disk, once."""

from typing import Any

import numpy as np

from tuner.data.rows import Features, Indices, Rows
from tuner.preparation.window_rule import windows_at


class WindowRows(Rows):
    """(n, steps, channels): of `base` (rows, channels) the windows that begin at `starts` (n,)."""

    def __init__(self, base: Features, starts: Indices, steps: int) -> None:
        super().__init__((len(starts), steps, base.shape[1]), base.dtype)
        self.base, self.starts = base, starts

    @property
    def steps(self) -> int:
        return self.shape[1]

    def read(self, start: int, stop: int) -> Features:
        return windows_at(self.base, np.asarray(self.starts[start:stop]), self.steps)

    def take(self, rows: Indices) -> Features:
        return windows_at(self.base, np.asarray(self.starts)[rows], self.steps)

    @property
    def stored(self) -> dict[str, Any]:
        """Its arrays by the ends of their files' names."""
        return {"": self.base, "_starts": self.starts}
