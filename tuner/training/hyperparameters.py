"""KerasTuner's `hp`, as a `build_model(hp)` or a HyperModel uses it.

It means what KerasTuner 1.4.8 means by it: names in scopes, parameters that are active only under
conditions, steps and scales. The values come from whoever runs the trial. Neither KerasTuner nor
TensorFlow is needed.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from tuner.study.messages import Distribution
from tuner.values import Scalar, shown

_SAMPLINGS = ("linear", "log", "reverse_log")
# A stepped range ends at its last whole step; a rounding error must not cost one.
_TOLERANCE = 1e-8


class Condition(NamedTuple):
    """A parameter is active only where the parameter `name` has one of these values."""

    name: str
    values: tuple[Scalar, ...]

    def is_met(self, values: Mapping[str, Scalar]) -> bool:
        return self.name in values and values[self.name] in self.values


@dataclass(frozen=True)
class HyperParameter:
    """A parameter that a function has asked for. `kind`: the method of `hp` that it used. `name`:
    with its scopes, as "encoder/units"."""

    name: str
    kind: Literal["Int", "Float", "Choice", "Boolean", "Fixed"]
    distribution: Distribution
    default: Scalar
    conditions: tuple[Condition, ...] = ()

    @property
    def full_name(self) -> str:
        """The name with its conditions, as "units [model=cnn]". It tells two parameters apart that
        share a name under different conditions."""
        conditions = ", ".join(
            f"{condition.name}={'|'.join(map(str, condition.values))}"
            for condition in self.conditions
        )
        return f"{self.name} [{conditions}]" if conditions else self.name


Ask = Callable[[HyperParameter], Scalar]


def default_of(parameter: HyperParameter) -> Scalar:
    """The value that a function has given as the default, else the lowest or first one."""
    return parameter.default


class HyperParameters:
    """What a model-building function asks for its parameters. `ask`: is called once for each active
    parameter of a trial.

    `values` holds the values of the active parameters by name, `space` all parameters asked for so
    far, inactive ones too. Methods and arguments are KerasTuner's. Raises ValueError and TypeError
    for ranges that are none.
    """

    def __init__(self, ask: Ask = default_of) -> None:
        self._ask = ask
        self._scopes: list[str] = []
        self._conditions: list[Condition] = []
        self.space: list[HyperParameter] = []
        self.values: dict[str, Scalar] = {}
        # KerasTuner's own HyperModels read these.
        self.active_scopes: list[list[Condition]] = []
        self.inactive_scopes: list[list[Condition]] = []

    def Int(  # noqa: N802
        self,
        name: str,
        min_value: int,
        max_value: int,
        step: int | None = None,
        sampling: str | None = "linear",
        default: int | None = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """A whole number, `max_value` included. With the sampling "log", `step` multiplies."""
        bounds = {"min_value": min_value, "max_value": max_value, "step": step}
        low, high, by = (_whole(name, argument, value) for argument, value in bounds.items())
        distribution = _numbers(name, "int", low, high, by, sampling)
        first = low if default is None else default
        return self._get("Int", name, distribution, first, parent_name, parent_values)

    def Float(  # noqa: N802
        self,
        name: str,
        min_value: float,
        max_value: float,
        step: float | None = None,
        sampling: str | None = "linear",
        default: float | None = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """A number, `max_value` included. With the sampling "log", `step` multiplies."""
        low, high = float(min_value), float(max_value)
        distribution = _numbers(name, "float", low, high, step, sampling)
        first = low if default is None else default
        return self._get("Float", name, distribution, first, parent_name, parent_values)

    def Choice(  # noqa: N802
        self,
        name: str,
        values: Sequence[Any],
        ordered: bool | None = None,
        default: Any = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """One of `values`, all of one type: str, int, float or bool (which KerasTuner gives as 1
        and 0). `ordered` changes nothing here."""
        choices = _alike(name, values)
        if default is not None and default not in choices:
            raise ValueError(
                f"hp.Choice({name!r}): the default must be one of {shown(list(choices))}, "
                f"got {shown(default)}"
            )
        if ordered and isinstance(choices[0], str):
            raise ValueError(f"hp.Choice({name!r}): only numbers are ordered")
        first = choices[0] if default is None else choices[choices.index(default)]
        distribution = Distribution("categorical", choices=choices)
        return self._get("Choice", name, distribution, first, parent_name, parent_values)

    def Boolean(  # noqa: N802
        self,
        name: str,
        default: bool = False,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """True or False."""
        if default not in (True, False):
            raise ValueError(f"hp.Boolean({name!r}): the default must be True or False")
        distribution = Distribution("categorical", choices=(True, False))
        first = bool(default)
        return self._get("Boolean", name, distribution, first, parent_name, parent_values)

    def Fixed(  # noqa: N802
        self, name: str, value: Any, parent_name: str | None = None, parent_values: Any = None
    ) -> Any:
        """`value`, which is kept with the trial's parameters."""
        if not isinstance(value, str | int | float):
            raise ValueError(
                f"hp.Fixed({name!r}): the value must be an int, float, str or bool, "
                f"got {shown(value)}"
            )
        distribution = Distribution("categorical", choices=(value,))
        return self._get("Fixed", name, distribution, value, parent_name, parent_values)

    @contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        """Parameters asked for within get `name/` before their names."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    @contextmanager
    def conditional_scope(self, parent_name: str, parent_values: Any) -> Iterator[None]:
        """Parameters asked for within are active, and have a value, only where `parent_name` has
        one of `parent_values`; else they are None. The code within runs in any case."""
        name = self._scoped(parent_name)
        if not any(each.name == name for each in self.space):
            raise ValueError(
                f"hp.conditional_scope: no parameter {name!r} has been asked for before it"
            )
        values = parent_values if isinstance(parent_values, list | tuple) else [parent_values]
        self._conditions.append(Condition(name, tuple(values)))
        is_active = self._are_met(self._conditions)
        (self.active_scopes if is_active else self.inactive_scopes).append(list(self._conditions))
        try:
            yield
        finally:
            self._conditions.pop()

    def get(self, name: str) -> Any:
        """The value of an active parameter. Raises ValueError for an inactive one, KeyError for one
        that has not been asked for."""
        name = self._scoped(name)
        if name in self.values:
            return self.values[name]
        if any(each.name == name for each in self.space):
            raise ValueError(f"the parameter {name!r} is not active in this trial")
        raise KeyError(f"no parameter {name!r} has been asked for")

    def __getitem__(self, name: str) -> Any:
        return self.get(name)

    def __contains__(self, name: object) -> bool:
        return self._scoped(str(name)) in self.values

    def is_active(self, hyperparameter: Any) -> bool:
        """Whether the conditions of a parameter, or of one with this name, are met."""
        if isinstance(hyperparameter, HyperParameter):
            return self._are_met(hyperparameter.conditions)
        same_name = [each for each in self.space if each.name == str(hyperparameter)]
        return any(self._are_met(each.conditions) for each in same_name)

    def copy(self) -> "HyperParameters":
        """The same values; what is asked of the copy alone has its default. A HyperModel that is
        not `tunable` builds with one."""
        again = HyperParameters()
        again.space, again.values = list(self.space), dict(self.values)
        return again

    def _get(
        self,
        kind: Literal["Int", "Float", "Choice", "Boolean", "Fixed"],
        name: str,
        distribution: Distribution,
        default: Scalar,
        parent_name: str | None,
        parent_values: Any,
    ) -> Any:
        """The value of a parameter, None where it is not active. The first range asked for under a
        name and its conditions holds for the trial."""
        scope = self.conditional_scope(parent_name, parent_values) if parent_name else nullcontext()
        with scope:
            name, conditions = self._scoped(name), tuple(self._conditions)
            if any(condition.name == name for condition in conditions):
                raise ValueError(f"hp.{kind}({name!r}): a parameter cannot be its own condition")
            hyperparameter = HyperParameter(name, kind, distribution, default, conditions)
            if not any(each.name == name and each.conditions == conditions for each in self.space):
                self.space.append(hyperparameter)
            if not self._are_met(conditions):
                return None
            if name not in self.values:
                self.values[name] = self._ask(hyperparameter)
            return self.values[name]

    def _scoped(self, name: str) -> str:
        return "/".join([*self._scopes, str(name)])

    def _are_met(self, conditions: Sequence[Condition]) -> bool:
        return all(condition.is_met(self.values) for condition in conditions)


def _numbers(
    name: str,
    kind: Literal["float", "int"],
    low: Any,
    high: Any,
    step: Any,
    sampling: str | None,
) -> Distribution:
    """The numbers of a range. Those of a step that multiplies are choices: Optuna's steps add. The
    sampling "reverse_log", which Optuna does not know, is linear."""
    where, scale = f"hp.{kind.capitalize()}({name!r})", str(sampling or "linear").lower()
    if scale not in _SAMPLINGS:
        raise ValueError(f"{where}: sampling must be linear, log or reverse_log, got {sampling!r}")
    if low > high:
        raise ValueError(f"{where}: min_value {low} is larger than max_value {high}")
    if scale != "linear":
        if low <= 0:
            raise ValueError(f"{where}: sampling {scale!r} needs min_value > 0, got {low}")
        if step is not None:
            return _multiples(where, kind, low, high, step, scale)
    elif step is not None:
        if step <= 0:
            raise ValueError(f"{where}: step must be > 0, got {step}")
        high = _last_step(low, high, step)
    return Distribution(kind, low, high, step, log=scale == "log")


def _multiples(
    where: str, kind: Literal["float", "int"], low: Any, high: Any, step: Any, scale: str
) -> Distribution:
    if step <= 1:
        raise ValueError(f"{where}: sampling {scale!r} needs step > 1, got {step}")
    count = int(math.log(high / low, step) + _TOLERANCE) + 1
    values = [low * math.pow(step, index) for index in range(count)]
    if scale == "reverse_log":
        values = [high + low - value for value in values]
    convert = int if kind == "int" else float
    return Distribution("categorical", choices=tuple(convert(value) for value in values))


def _last_step(low: Any, high: Any, step: Any) -> Any:
    """The largest low + k * step that is not above `high`, free of rounding errors."""
    first, by = Decimal(str(low)), Decimal(str(step))
    return type(low)(first + (Decimal(str(high)) - first) // by * by)


def _whole(name: str, argument: str, value: Any) -> Any:
    if value is None and argument == "step":
        return None
    if int(value) != value:
        raise ValueError(f"hp.Int({name!r}): {argument} must be a whole number, got {value!r}")
    return int(value)


def _alike(name: str, values: Sequence[Any]) -> tuple[Scalar, ...]:
    """The values as KerasTuner keeps them: of one type."""
    if not values:
        raise ValueError(f"{name!r}: at least one value is needed")
    if len({type(value) for value in values}) > 1:
        raise TypeError(f"{name!r}: all values must be of one type, got {shown(list(values))}")
    for type_ in (str, int, float):
        if isinstance(values[0], type_):
            return tuple(type_(value) for value in values)
    raise TypeError(f"{name!r}: values must be int, float, str or bool, got {shown(values[0])}")
