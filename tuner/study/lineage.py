"""Where a trial of population-based training stands: its member, its generation, its parent.

Each generation of a member is a trial of its own. It goes on from its parent's last weights: those
of the member's own generation before, or those of a better member, which it copies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tuner.search_space.parameter_types import Params
from tuner.study.messages import Generation

# The system attribute of a trial that says where it stands.
PLACE = "tuner:population"
NO_COMPILED_MODEL = (
    "the network is a compiled model, whose numbers sampler pbt cannot change as it trains: return "
    "it without compile(), or take another sampler"
)


class Place(NamedTuple):
    """`population`: from 0; another one begins when all members of the last have trained all
    epochs. `member`: the number of its first trial; None in that trial. `generation`: from 0.
    `parent`: the number of the trial that this one goes on from; None in generation 0."""

    population: int = 0
    member: int | None = None
    generation: int = 0
    parent: int | None = None

    @classmethod
    def read(cls, value: Any) -> "Place":
        """From the attribute's value. Raises ValueError for another one."""
        if not isinstance(value, Mapping) or value.keys() - set(cls._fields):
            raise ValueError(value)
        numbers: dict[str, Any] = {name: value.get(name) for name in cls._fields}
        for name, number in numbers.items():
            is_missing = number is None and name in ("member", "parent")
            if not is_missing and (type(number) is not int or number < 0):
                raise ValueError(value)
        return cls(**numbers)

    def attribute(self) -> dict[str, int | None]:
        return self._asdict()

    def member_of(self, trial: int) -> int:
        """The member that the trial of this place and that number is of."""
        return trial if self.member is None else self.member


@dataclass(frozen=True)
class Lineage:
    """What a trial goes on from. `root`: the number of the lineage's first trial, whose seed all of
    it trains with. `earlier`: the generations before the trial's own, the first one first.
    `last_epoch`: of the trial's own."""

    root: int
    earlier: tuple[Generation, ...]
    last_epoch: int


def generation_end(generation: int, interval: int, epochs: int) -> int:
    """The last epoch of a generation, where each has `interval` epochs and all together `epochs`:
    the last generation may have fewer."""
    return min((generation + 1) * interval, epochs)


def generation_count(interval: int, epochs: int) -> int:
    return -(-epochs // interval)


def make_lineage(
    numbers: Sequence[int], params: Sequence[Params], interval: int, epochs: int
) -> Lineage:
    """Of the trials with these numbers, the first one first; the last one is the trial itself.
    `params`: of those before it."""
    earlier = tuple(
        Generation(dict(each), generation_end(number, interval, epochs))
        for number, each in enumerate(params)
    )
    return Lineage(numbers[0], earlier, generation_end(len(params), interval, epochs))
