"""The programs that a worker process keeps for later trials."""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar, cast

from cachetools import LRUCache

from tuner.study.messages import KEPT_PROGRAMS
from tuner.training.engines.cost import PROGRAMS_BYTES

# A trial that changes from the graph to XLA has two.
PROGRAMS_A_TRIAL = 2


class SizedProgram(Protocol):
    @property
    def nbytes(self) -> int:
        """The bytes of its weights and of the optimizer's slots."""
        ...


P = TypeVar("P", bound=SizedProgram)


class ProgramCache:
    """The programs used last, of all kinds together: as many as the loop counts on, and as have
    room in `most_bytes`. The one asked for last stays, whatever it takes."""

    def __init__(
        self,
        most_bytes: int = PROGRAMS_BYTES,
        most_programs: int = KEPT_PROGRAMS * PROGRAMS_A_TRIAL,
    ) -> None:
        self._most_programs = most_programs
        # LRUCache refuses what exceeds the budget: such a program counts as the whole budget.
        self._programs: LRUCache[Hashable, SizedProgram] = LRUCache(
            most_bytes, getsizeof=lambda program: min(program.nbytes, most_bytes)
        )
        self._last_keys: deque[Hashable] = deque(maxlen=PROGRAMS_A_TRIAL)

    def get_or_make(self, key: Hashable, make: Callable[[], P]) -> P:
        """The program of that key, newly made where none is kept."""
        self._measure_last_again()
        program = self._programs.get(key)
        if program is None:
            while len(self._programs) >= self._most_programs:
                self._programs.popitem()
            program = make()
        self._programs[key] = program
        self._last_keys.append(key)
        return cast(P, program)

    def _measure_last_again(self) -> None:
        """LRUCache measures a program once, but a graph is as large as the trial that started in it
        after it was asked for."""
        for key in self._last_keys:
            if key in self._programs:
                self._programs[key] = self._programs[key]

    def keys(self) -> list[Hashable]:
        """Of the programs that are kept."""
        return list(self._programs)
