"""What a study knows before its first trial: configurations that were good elsewhere."""

from pydantic import BaseModel, ConfigDict

from tuner.search_space.ranges import Value

# Flat parameters, as Optuna stores them; the sampler chooses what a configuration leaves out.
FlatConfiguration = dict[str, Value]


class PriorSpec(BaseModel):
    """What is stored of it with a study, in the terms of the study's own space.

    `portfolio`: configurations that were good on many data sets. `learned_from`: earlier studies by
    name; `learned`: the best configurations of these. Both are tried behind the baselines, the
    learned ones first. `centres`: where the prior expects good configurations; the sampler's first
    proposals are often drawn near them. `of_defaults`: they are the defaults and the baselines.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    portfolio: tuple[FlatConfiguration, ...] = ()
    learned_from: tuple[str, ...] = ()
    learned: tuple[FlatConfiguration, ...] = ()
    centres: tuple[FlatConfiguration, ...] = ()
    of_defaults: bool = False

    @property
    def in_words(self) -> str:
        """What the prior is made of, "none" without one."""
        sources = [f"study {name}" for name in self.learned_from]
        if self.of_defaults:
            sources.append("defaults and baselines")
        return ", ".join(sources) or "none"
