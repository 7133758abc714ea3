"""What a network that reads rows step by step must know of them beside their shape."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StepRows:
    """`vocabulary_size`: rows (steps,) are numbers of words below it, 0 for padding; 0 if rows are
    no words. `padded`: the last channel of a step is 1 where the step is there, 0 for padding."""

    vocabulary_size: int = 0
    padded: bool = False


NO_STEPS = StepRows()


def steps_of(dataset: Any) -> StepRows:
    """Of a `Dataset`."""
    return StepRows(dataset.vocabulary_size, dataset.padded)
