"""Work on the columns of a table, in threads."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tuner.system.machine import scheduled_cores

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# With fewer rows, starting threads takes longer than the work.
_FEWEST_ROWS_FOR_THREADS = 100_000
_MOST_THREADS = 4


def map_columns(
    work: Callable[[_Item], _Result], items: Iterable[_Item], rows: int
) -> list[_Result]:
    """The results of `work` for all items, in their order, computed in threads: NumPy and Arrow
    release the interpreter's lock."""
    threads = min(_MOST_THREADS, scheduled_cores())
    if rows < _FEWEST_ROWS_FOR_THREADS or threads < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads, thread_name_prefix="columns") as pool:
        return list(pool.map(work, items))
