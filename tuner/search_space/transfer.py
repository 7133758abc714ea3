"""A configuration of another space, as the nearest one of this space.

Parameters are matched by name. What this space does not search is dropped; a number outside a range
goes to its nearest value; a list with a value for each layer is shortened, or its last value
repeated.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tuner.search_space.configurations import (
    SamplingOrder,
    flatten_configuration,
    without_conflicts,
)
from tuner.search_space.nodes import Node
from tuner.search_space.ranges import Choices, FloatRange, InvalidError, Range, check_number
from tuner.values import Scalar

_LAYER = re.compile(r"(.+)_([1-9]\d*)")


class Transferred(NamedTuple):
    """`flat`: checked flat parameters, as `flatten` gives them. `dropped`: names that have no use
    here, `moved`: those whose value had to change, each in the order of the configuration."""

    flat: dict[str, Scalar]
    dropped: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()


@dataclass
class _Mapping:
    fitting: dict[str, object] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)


def transfer_configuration(
    order: SamplingOrder, configuration: Mapping[str, object]
) -> Transferred:
    """The nearest configuration of the space with this order. `configuration`: parameters as a
    person writes them, flat ones, or those of a trial (`Params`)."""
    mapping = _Mapping()
    given = _by_parameter(order, configuration)
    # Counts of layers first: a list is as long as its count.
    for name in sorted(given, key=lambda name: _repeats(order.nodes.get(name))):
        _map(order.nodes.get(name), name, given[name], mapping)
    fitting = without_conflicts(order, mapping.fitting)
    conflicts = [name for name in mapping.fitting if name not in fitting]
    place = {name: number for number, name in enumerate(given)}
    return Transferred(
        flatten_configuration(order, fitting),
        tuple(sorted({*mapping.dropped, *conflicts}, key=place.__getitem__)),
        tuple(name for name in sorted(mapping.moved, key=place.__getitem__) if name in fitting),
    )


def _repeats(node: Node | None) -> bool:
    return node is not None and node.repeat is not None


def _by_parameter(
    order: SamplingOrder, configuration: Mapping[str, object]
) -> dict[str, list[object]]:
    """The values by parameter: `width_1`, `width_2` are both of width, where the space knows no
    parameter width_1."""
    given: dict[str, list[object]] = {}
    layers: dict[str, dict[int, object]] = {}
    for name, value in configuration.items():
        layer = _LAYER.fullmatch(name)
        if name not in order.nodes and layer is not None and layer[1] in order.nodes:
            layers.setdefault(layer[1], {})[int(layer[2])] = value
            given.setdefault(layer[1], [])
        else:
            given[name] = list(value) if isinstance(value, list | tuple) else [value]
    for name, by_layer in layers.items():
        given[name] = given[name] or [by_layer[layer] for layer in sorted(by_layer)]
    return given


def _map(node: Node | None, name: str, values: list[object], mapping: _Mapping) -> None:
    if node is None or not values:
        mapping.dropped.append(name)
        return
    if node.range is None:
        if not node.is_value(values[0]):
            mapping.dropped.append(name)
        return
    nearest = [nearest_value(node.range, value) for value in values]
    known = [value for value in nearest if value is not None]
    if not known or len(known) < len(nearest):
        mapping.dropped.append(name)
        return
    if any(new != node_value for new, node_value in zip(known, values, strict=True)):
        mapping.moved.append(name)
    mapping.fitting[name] = _layers(node, known, mapping)


def _layers(node: Node, values: list[Scalar], mapping: _Mapping) -> Scalar | list[Scalar]:
    """One value, or as many as the network has layers."""
    if node.repeat is None or len(values) == 1:
        return values[0]
    count = mapping.fitting.get(node.repeat)
    if not isinstance(count, int) or not count:
        return values[0]  # of every layer, however many there will be
    return [*values[:count], *[values[-1]] * (count - len(values))]


def nearest_value(range_: Range, value: object) -> Scalar | None:
    """The range's own value, or the number of it that is nearest, on the scale on which it is
    searched; None where it has none that is like it."""
    if range_.refusal(value) is None:
        assert isinstance(value, bool | int | float | str)
        return range_.canonical(value)
    try:
        number = check_number(value)
    except InvalidError:
        return None
    if isinstance(range_, Choices):
        numbers = [choice for choice in range_.choices if _is_number(choice)]
        return min(numbers, key=lambda choice: abs(float(choice) - number), default=None)
    clipped = min(max(number, range_.low), range_.top)
    if isinstance(range_, FloatRange):
        return range_.canonical(clipped)
    steps = round((clipped - range_.low) / range_.step)
    return range_.canonical(range_.low + steps * range_.step)


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
