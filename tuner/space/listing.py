"""The configurations that a space names one by one, instead of leaving them to a sampler."""

import json
from collections.abc import Iterable, Mapping

from tuner.parameters import Scalar
from tuner.space import grid
from tuner.space.configuration import flatten
from tuner.space.plan import Plan
from tuner.space.ranges import Range
from tuner.space.scalars import InvalidError


def listed(plan: Plan, baselines: Iterable[Mapping[str, object]]) -> list[dict[str, Scalar]]:
    """The baselines as flat parameters, each complete and none twice. Raises InvalidError."""
    found: list[dict[str, Scalar]] = []
    known: dict[str, int] = {}
    for number, baseline in enumerate(baselines):
        flat = flatten(plan, baseline)
        _check_complete(plan, flat, number)
        # As JSON: Python takes 1, 1.0 and true for equal.
        same = known.setdefault(json.dumps(flat, sort_keys=True), number)
        if same != number:
            raise InvalidError(f"is the same as baselines[{same}]", "baselines", number)
        found.append(flat)
    return found


def every_point(plan: Plan, size: int) -> list[dict[str, Scalar]]:
    """The grid, which has so many points. Raises InvalidError for more than MOST_POINTS."""
    if size > grid.MOST_POINTS:
        raise InvalidError(
            f"the grid has {size:,} points, more than {grid.MOST_POINTS:,}; fix parameters with "
            "--set, or name configurations under baselines"
        )
    return list(grid.points(plan))


def _check_complete(plan: Plan, flat: Mapping[str, Scalar], number: int) -> None:
    def said(name: str, _range: Range) -> Scalar:
        if name not in flat:
            text = f"leaves {name} open, and nothing is searched here: give it a value"
            raise InvalidError(text, "baselines", number)
        return flat[name]

    plan.resolve(said)
