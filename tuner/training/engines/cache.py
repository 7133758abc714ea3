"""Programs that are kept for later trials: those used last, as many as memory has room for."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from tuner.study.messages import KEPT_PROGRAMS

# Of weights and optimizer slots. What is compiled stays in the process, some 20 MiB a program, also
# once the program is let go: against that the process is replaced (execution/local.py).
_MOST_BYTES = 512 * 2**20

T = TypeVar("T")


class LRUCache(Generic[T]):
    """So many and so many bytes at most. `size`: the bytes of one; `needed`: whether one has to
    stay whatever it takes. What was asked for last stays in any case."""

    def __init__(
        self,
        size: Callable[[T], int],
        needed: Callable[[T], bool] = lambda one: False,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self._size, self._needed, self._most_bytes = size, needed, most_bytes
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The one of that key, newly made where there is none."""
        found = self._kept.pop(key, None)
        self._make_room()
        self._kept[key] = make() if found is None else found
        return self._kept[key]

    def _make_room(self) -> None:
        held = sum(map(self._size, self._kept.values()))
        for key, one in list(self._kept.items()):
            if len(self._kept) < KEPT_PROGRAMS and held <= self._most_bytes:
                return
            if not self._needed(one):
                held -= self._size(one)
                del self._kept[key]

    def __iter__(self) -> Iterator[T]:
        return iter(self._kept.values())
