"""Points of a search space as numbers in [0, 1], for samplers that compare and vary points."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Floats = NDArray[np.float64]
# Two indicator columns differ where two choices do: together they count as a whole range, 1.
_HALF = math.sqrt(0.5)


class _Scale:
    """One parameter: value ↔ place in [0, 1]. A log range is even in the logarithm; each whole
    number, step and choice has an equal share, the ends included."""

    def __init__(self, distribution: BaseDistribution) -> None:
        self._choices: dict[Any, int] | None = None
        self._log, self._step = False, 0.0
        if isinstance(distribution, CategoricalDistribution):
            # 1, 1.0 and true are one key of a dict, so the text tells choices apart.
            self._choices = {repr(choice): i for i, choice in enumerate(distribution.choices)}
            self._values = distribution.choices
            low, high, self._step = 0.0, float(len(self._values) - 1), 1.0
        else:
            assert isinstance(distribution, FloatDistribution | IntDistribution)
            low, high = float(distribution.low), float(distribution.high)
            self._log, self._step = distribution.log, float(distribution.step or 0)
        self._whole = isinstance(distribution, IntDistribution)
        self._low, self._high = low, high
        half = self._step / 2
        self._start, self._end = self._scaled(low - half), self._scaled(high + half)

    @property
    def choices(self) -> int:
        """0 for a number."""
        return len(self._choices or ())

    def numbers(self, places: Floats) -> Floats:
        """The numbers at these places; a choice's is its index."""
        scaled = self._start + places * (self._end - self._start)
        numbers = np.exp(scaled) if self._log else scaled
        if self._step:
            numbers = self._low + np.round((numbers - self._low) / self._step) * self._step
        return np.clip(numbers, self._low, self._high)

    def places(self, numbers: Floats) -> Floats:
        inside = np.clip(numbers, self._low, self._high)
        scaled = np.log(inside) if self._log else inside
        return np.asarray((scaled - self._start) / (self._end - self._start))

    def number(self, value: Any) -> float:
        return float(value) if self._choices is None else float(self._choices[repr(value)])

    def value(self, number: float) -> Any:
        if self._choices is not None:
            return self._values[round(number)]
        return round(number) if self._whole else float(number)

    def _scaled(self, number: float) -> float:
        return math.log(number) if self._log else number


class UnitSpace:
    """Parameters with more than one value, in the order of their names. A point has one place a
    parameter, shape (parameters,)."""

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self.distributions = dict(sorted(distributions.items()))
        self._scales = {name: _Scale(d) for name, d in self.distributions.items()}

    def __len__(self) -> int:
        return len(self._scales)

    def point(self, params: Mapping[str, Any], random: np.random.Generator) -> Floats:
        """A parameter that a trial lacks has any place: its value changed nothing there."""
        places = random.random(len(self))
        for column, (name, scale) in enumerate(self._scales.items()):
            if name in params:
                number = np.array(scale.number(params[name]))
                places[column] = scale.places(number)
        return self.rounded(places[None])[0]

    def rounded(self, points: Floats) -> Floats:
        """Points of shape (n, parameters), moved to values that the parameters can have."""
        columns = [
            scale.places(scale.numbers(points[:, column]))
            for column, scale in enumerate(self._scales.values())
        ]
        return np.column_stack(columns)

    def params(self, point: Floats) -> dict[str, Any]:
        """The values at a point, in the parameters' own types."""
        return {
            name: scale.value(float(scale.numbers(point[column : column + 1])[0]))
            for column, (name, scale) in enumerate(self._scales.items())
        }

    def features(self, points: Floats) -> Floats:
        """Rounded points as columns whose squared distances are comparable: a number's place, and
        an indicator for each choice."""
        columns: list[Floats] = []
        for column, scale in enumerate(self._scales.values()):
            if scale.choices:
                chosen = scale.numbers(points[:, column])
                columns += [_HALF * (chosen == index) for index in range(scale.choices)]
            else:
                columns.append(points[:, column])
        return np.column_stack(columns)
