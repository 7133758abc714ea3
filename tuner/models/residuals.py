"""The errors of a network that predicts numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.study.weighted_metrics import ScoredRows

_Array = npt.NDArray[Any]

_TARGET_GROUPS = 5
_ERROR_LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_SIZE_LEVELS = (0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class TargetGroup:
    """The rows whose target lies from `low` to `high`. `bias`: the mean of prediction - target."""

    low: float
    high: float
    rows: int
    bias: float
    mae: float
    rmse: float


@dataclass(frozen=True)
class Residuals:
    """The errors of a regression, prediction - target, in the target's units: mean, standard
    deviation, their quantiles and those of their sizes by level, and the errors by groups of
    targets of about equally many rows, the smallest targets first."""

    mean: float
    deviation: float
    quantiles: dict[float, float]
    sizes: dict[float, float]
    by_target: tuple[TargetGroup, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON takes it."""
        content = asdict(self)
        for name in ("quantiles", "sizes"):
            content[name] = {str(level): value for level, value in content[name].items()}
        return content


def residuals_of(scored: ScoredRows) -> Residuals:
    """Of rows of a regression."""
    target = scored.y.astype(np.float64)
    errors = scored.predictions.astype(np.float64) - target
    return Residuals(
        mean=float(errors.mean()),
        deviation=float(errors.std()),
        quantiles=_quantiles(errors, _ERROR_LEVELS),
        sizes=_quantiles(np.abs(errors), _SIZE_LEVELS),
        by_target=_by_target(target, errors),
    )


def _quantiles(values: _Array, levels: Sequence[float]) -> dict[float, float]:
    return dict(zip(levels, np.quantile(values, levels).tolist(), strict=True))


def _by_target(target: _Array, errors: _Array) -> tuple[TargetGroup, ...]:
    """Equal targets are in one group, so that there may be fewer of them."""
    ends = np.unique(np.quantile(target, np.linspace(0, 1, _TARGET_GROUPS + 1)[1:]))
    group_of = np.searchsorted(ends, target)
    groups = []
    for number in np.unique(group_of):
        members = group_of == number
        own = errors[members]
        groups.append(
            TargetGroup(
                low=float(target[members].min()),
                high=float(target[members].max()),
                rows=len(own),
                bias=float(own.mean()),
                mae=float(np.abs(own).mean()),
                rmse=float(np.sqrt((own**2).mean())),
            )
        )
    return tuple(groups)
