"""Work on the columns of a long table, on all cores."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# With fewer rows, starting threads takes longer than the work.
_FEWEST_ROWS = 100_000
_MOST_THREADS = 4


def for_each(work: Callable[[_Item], _Result], items: Iterable[_Item], rows: int) -> list[_Result]:
    """What `work` gives for each item, in their order. NumPy lets other threads run meanwhile."""
    threads = min(_MOST_THREADS, _cores())
    if rows < _FEWEST_ROWS or threads < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads, thread_name_prefix="columns") as pool:
        return list(pool.map(work, items))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
