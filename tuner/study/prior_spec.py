"""What a study knows before its first trial: configurations that were good elsewhere."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tuner.search_space.ranges import Value

# Flat parameters, as Optuna stores them; the sampler chooses what a configuration leaves out.
FlatConfiguration = dict[str, Value]


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Configurations = Annotated[tuple[FlatConfiguration, ...], BeforeValidator(_as_tuple)]


class PriorKnowledge(BaseModel):
    """What is stored of it with a study, in the terms of the study's own space.

    `portfolio`: configurations that were good on many data sets, tried behind the baselines.
    `learned_from`: earlier studies by name; `learned`: the best configurations of these, tried
    behind the baselines too. `centres`: where the prior expects good configurations; the sampler's
    first proposals are often drawn near them. Empty: no prior.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    portfolio: Configurations = ()
    learned_from: tuple[str, ...] = ()
    learned: Configurations = ()
    centres: Configurations = ()

    @property
    def first_trials(self) -> list[FlatConfiguration]:
        """What is tried behind the baselines; what earlier studies found comes first."""
        return [*self.learned, *self.portfolio]

    @property
    def is_empty(self) -> bool:
        return not (self.portfolio or self.learned_from or self.centres)

    @property
    def in_words(self) -> str:
        """The three facts, as `study show` and differences between studies have them."""
        return f"{self.learned_from_in_words}"

    @property
    def learned_from_in_words(self) -> str:
        return ", ".join(self.learned_from)
