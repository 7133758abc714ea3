"""What a trial asks for while it defines its own space, as Optuna's distributions."""

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuner.study.messages import Distribution


def optuna_distribution(distribution: Distribution) -> BaseDistribution:
    """Raises ValueError where Optuna refuses it, with its reason."""
    low, high, step = distribution.low, distribution.high, distribution.step
    if distribution.kind == "categorical":
        return CategoricalDistribution(distribution.choices)
    assert low is not None and high is not None
    if distribution.kind == "int":
        step = 1 if step is None else step
        return IntDistribution(int(low), int(high), log=distribution.log, step=int(step))
    return FloatDistribution(low, high, log=distribution.log, step=step)
