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
    proposals are often drawn near them. `of_defaults`: the defaults and the baselines are among
    them. `with_portfolio`: one was asked for, though all of it may be baselines too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    portfolio: tuple[FlatConfiguration, ...] = ()
    learned_from: tuple[str, ...] = ()
    learned: tuple[FlatConfiguration, ...] = ()
    centres: tuple[FlatConfiguration, ...] = ()
    of_defaults: bool = False
    with_portfolio: bool = False

    @property
    def in_words(self) -> str:
        """What the prior is made of, "none" without one."""
        sources = [f"study {name}" for name in self.learned_from]
        if self.of_defaults:
            sources.append("defaults and baselines")
        return " and ".join(sources) or "none"

    @property
    def tried_first_in_words(self) -> str:
        """How many configurations come before the sampler's, beside the baselines; "" for none."""
        counts = {"earlier studies": len(self.learned), "the portfolio": len(self.portfolio)}
        return ", ".join(f"{count} of {whose}" for whose, count in counts.items() if count)
