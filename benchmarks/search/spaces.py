"""The parameters of a table and their ranges, as the methods see them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Scalar = bool | int | float | str
Params = dict[str, Scalar]
Kind = Literal["float", "int", "categorical"]


@dataclass(frozen=True)
class TableParameter:
    """One parameter. `low` and `high` are inclusive. `choices`: of a categorical one. `condition`:
    (name, values); the parameter applies where that parameter, which stands before this one, has
    one of the values."""

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[Scalar, ...] = ()
    condition: tuple[str, tuple[Scalar, ...]] | None = None

    def value_at(self, place: float) -> Scalar:
        """The value at a place in [0, 1]: 0 is the lowest value or the first choice."""
        if self.kind == "categorical":
            return self.choices[min(int(place * len(self.choices)), len(self.choices) - 1)]
        if self.kind == "int":
            # Each whole number has a share of its own, the ends included.
            low, high = self._scaled(self.low - 0.5), self._scaled(self.high + 0.5)
            number = round(float(self._unscaled(low + place * (high - low))))
            return int(min(max(number, self.low), self.high))
        low, high = self._scaled(self.low), self._scaled(self.high)
        return float(min(max(self._unscaled(low + place * (high - low)), self.low), self.high))

    def place_of(self, value: Scalar) -> float:
        """Where a value lies between the lowest (0) and the highest (1); clipped to the range."""
        if self.kind == "categorical":
            return (self.choices.index(value) + 0.5) / len(self.choices)
        low, high = self._scaled(self.low), self._scaled(self.high)
        if high == low:
            return 0.5
        clipped = min(max(float(value), self.low), self.high)
        return (self._scaled(clipped) - low) / (high - low)

    def _scaled(self, value: float) -> float:
        return float(np.log(value)) if self.log else float(value)

    def _unscaled(self, value: float) -> float:
        return float(np.exp(value)) if self.log else float(value)


@dataclass(frozen=True)
class TableSpace:
    """The parameters of a table, each behind those that it depends on."""

    parameters: tuple[TableParameter, ...]

    @property
    def names(self) -> list[str]:
        return [parameter.name for parameter in self.parameters]

    def sample(self, random: np.random.Generator) -> Params:
        """Uniform in each parameter's scale; only the parameters that apply."""
        return self.at(random.random(len(self.parameters)))

    def at(self, places: Sequence[float] | NDArray[np.float64]) -> Params:
        """The configuration at places in [0, 1], one a parameter; only those that apply."""
        params: Params = {}
        for parameter, place in zip(self.parameters, places, strict=True):
            if applies(parameter, params):
                params[parameter.name] = parameter.value_at(float(place))
        return params

    def places(self, params: Mapping[str, Scalar]) -> NDArray[np.float64]:
        """One place in [0, 1] a parameter, shape (number of parameters,); NaN where it does not
        apply."""
        return np.array(
            [
                parameter.place_of(params[parameter.name]) if applies(parameter, params) else np.nan
                for parameter in self.parameters
            ]
        )

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(parameter) for parameter in self.parameters]

    @classmethod
    def from_json(cls, parameters: Sequence[Mapping[str, Any]]) -> "TableSpace":
        return cls(tuple(_parameter(item) for item in parameters))


def applies(parameter: TableParameter, params: Mapping[str, Scalar]) -> bool:
    if parameter.condition is None:
        return True
    name, values = parameter.condition
    return name in params and params[name] in values


def _parameter(item: Mapping[str, Any]) -> TableParameter:
    condition = item.get("condition")
    return TableParameter(
        **{
            **item,
            "choices": tuple(item.get("choices") or ()),
            "condition": None if condition is None else (condition[0], tuple(condition[1])),
        }
    )
