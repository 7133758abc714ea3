"""A table's space for libraries that know no constants and no conditions; their random numbers.

Categorical parameters become choices among the texts "0", "1", …: no library then has to compare
values of several types. Parameters with one value are left out. A library without conditions
proposes all parameters of a trial, and those that do not apply are dropped.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.search.spaces import Params, Scalar, TableParameter, TableSpace, applies


def searched(space: TableSpace) -> list[TableParameter]:
    """The parameters that have more than one value."""
    return [parameter for parameter in space.parameters if not _constant(parameter)]


def choice_texts(parameter: TableParameter) -> list[str]:
    return [str(index) for index in range(len(parameter.choices))]


def encoded(parameter: TableParameter, value: Scalar) -> Any:
    """A value of the table as the library's. Numbers outside the range are clipped."""
    if parameter.kind == "categorical":
        return str(parameter.choices.index(value))
    clipped = min(max(float(value), parameter.low), parameter.high)
    return round(clipped) if parameter.kind == "int" else clipped


def decoded(space: TableSpace, values: Mapping[str, Any]) -> Params:
    """What a library proposed as a configuration of the table."""
    params: Params = {}
    for parameter in space.parameters:
        if applies(parameter, params):
            params[parameter.name] = _value(parameter, values)
    return params


def _constant(parameter: TableParameter) -> bool:
    if parameter.kind == "categorical":
        return len(parameter.choices) == 1
    return parameter.low == parameter.high


def _value(parameter: TableParameter, values: Mapping[str, Any]) -> Scalar:
    if parameter.kind == "categorical":
        return parameter.choices[0 if _constant(parameter) else int(values[parameter.name])]
    number = parameter.low if _constant(parameter) else values[parameter.name]
    clipped = min(max(float(number), parameter.low), parameter.high)
    return round(clipped) if parameter.kind == "int" else clipped


class GlobalRandom:
    """Within `with`, NumPy's global generator is this object's, and is put back behind it.

    The libraries draw from it, so without this a run would depend on what else its process does.
    `read` and `write` get and set the state of a further global generator, which the caller seeds.
    """

    def __init__(
        self,
        seed: int,
        read: Callable[[], Any] = lambda: None,
        write: Callable[[Any], None] = lambda state: None,
    ) -> None:
        self._mine: tuple[Any, Any] = (np.random.RandomState(seed).get_state(), read())
        self._others: tuple[Any, Any] = self._mine
        self._read = read
        self._write = write

    def __enter__(self) -> None:
        self._others = (np.random.get_state(), self._read())
        self._restore(self._mine)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._mine = (np.random.get_state(), self._read())
        self._restore(self._others)

    def _restore(self, states: tuple[Any, Any]) -> None:
        np.random.set_state(states[0])
        self._write(states[1])
