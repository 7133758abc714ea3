"""Steps of a stream that overlap: blocks are read ahead, and written behind."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

_Block = TypeVar("_Block")
# So many blocks wait at most between two steps: memory stays bounded.
_MOST_WAITING = 2


class _End:
    pass


def read_ahead(blocks: Iterator[_Block]) -> Iterator[_Block]:
    """The blocks, made in a thread while the earlier ones are used. What making one raises is
    raised here, in its turn."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    waiting: deque[Future[_Block | type[_End]]] = deque()
    try:
        for _ in range(_MOST_WAITING):
            waiting.append(pool.submit(next, blocks, _End))
        while (block := waiting.popleft().result()) is not _End:
            waiting.append(pool.submit(next, blocks, _End))
            yield block  # type: ignore[misc]  # not _End
    finally:
        pool.shutdown(cancel_futures=True)


class WriteBehind(Generic[_Block]):
    """Calls of one function, in order, in a thread. A call returns at once unless others wait; what
    the function raises is raised by a later call, or at the end."""

    def __init__(self, write: Callable[[_Block], None]) -> None:
        self._write = write
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write-behind")
        self._waiting: deque[Future[None]] = deque()

    def __call__(self, block: _Block) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._write, block))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for call in self._waiting:
                call.result()
