"""A parameter of a space, with everything that decides when it exists and what it may be: what the
file declares, the catalogue's condition, and the default.

Conditions are checked against the resolved parameters. While its `when` does not hold, a parameter
has its default, and further conditions see that default. It is absent if it has no default, or if
the catalogue's own condition does not hold: no momentum without sgd.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tuner.search_space.parameter_types import equal_values, format_value
from tuner.search_space.parameters import catalogue, settled_defaults
from tuner.search_space.ranges import (
    LONGEST_WORD,
    Choices,
    FloatRange,
    IntRange,
    Range,
)
from tuner.values import Scalar, as_switch, word

Requirement = Mapping[str, tuple[Scalar, ...]]
Status = Literal["searched", "fixed", "absent"]


@dataclass(frozen=True)
class Node:
    """One parameter of a space.

    `range`: None if it is not searched. `value`: the constant, or the default, or None if there is
    neither. `needs`: the catalogue's condition. `most`: the most layers of a repeated parameter.
    `constant`: the space itself fixes the value, as opposed to a default.
    """

    name: str
    range: Range | None
    value: Scalar | None
    needs: Requirement
    most: int = 1
    constant: bool = False

    @property
    def when(self) -> Requirement:
        return self.range.when if self.range else {}

    @property
    def repeat(self) -> str | None:
        return self.range.repeat if self.range else None

    @property
    def parents(self) -> list[str]:
        """The parameters that this one's presence or length depends on."""
        return [*self.when, *self.needs, *([self.repeat] if self.repeat else [])]

    def status(self, params: Mapping[str, object]) -> Status:
        """What this parameter is, given the resolved parameters before it."""
        if not conditions_hold(self.needs, params):
            return "absent"
        if (
            self.range
            and conditions_hold(self.when, params)
            and (not self.repeat or self.repeat in params)
        ):
            return "searched"
        return "absent" if self.value is None else "fixed"

    def flat_names(self, layers: int | None = None) -> list[str]:
        """Optuna's names: `width`, or `width_1`, `width_2`, … of a repeated one."""
        if not self.repeat:
            return [self.name]
        count = self.most if layers is None else layers
        return [f"{self.name}_{layer}" for layer in range(1, count + 1)]

    def is_value(self, value: object) -> bool:
        """Whether `value` is the constant or default; a switch also takes yes, no, on and off."""
        return equal_values(as_switch(value) if isinstance(self.value, bool) else value, self.value)

    def takes(self, value: object) -> bool:
        """Whether the parameter can ever have `value`."""
        if self.range is None:
            return self.is_value(value)
        return self.range.refusal(value) is None or (bool(self.when) and self.is_value(value))

    def describe(self) -> str:
        return self.range.describe() if self.range else f"always {format_value(self.value)}"


def conditions_hold(requirement: Requirement, params: Mapping[str, object]) -> bool:
    """Whether every parent exists and has one of the values that it must have."""
    return all(
        parent in params and any(equal_values(params[parent], value) for value in values)
        for parent, values in requirement.items()
    )


def format_conditions(requirement: Requirement) -> str:
    """ "optimizer is sgd and depth is 2 or 3" """
    return " and ".join(
        f"{parent} is {' or '.join(format_in_sentence(value) for value in values)}"
        for parent, values in requirement.items()
    )


def format_in_sentence(value: Scalar) -> str:
    """A value as it stands in a sentence: plain words without quotes."""
    text = word(value)
    return text if len(text) <= LONGEST_WORD else format_value(value)


def make_nodes(
    network: str,
    parameters: Mapping[str, Range | Scalar],
    defaults: Mapping[str, Scalar] | None,
) -> dict[str, Node]:
    """A node for each declared parameter, then for each other one of the catalogue; unchecked.
    `defaults`: those that a study has stored; None for the catalogue's present ones."""
    settled = settled_defaults(network, defaults)
    needs = {name: parameter.when for name, parameter in catalogue(network).items()}
    nodes = {
        name: _make_node(name, declared, settled.get(name), needs.get(name, {}))
        for name, declared in parameters.items()
    }
    for name, default in settled.items():
        nodes.setdefault(name, Node(name, None, default, needs[name]))
    return {name: _with_layers(node, nodes) for name, node in nodes.items()}


def _make_node(
    name: str, declared: Range | Scalar, default: Scalar | None, needs: Requirement
) -> Node:
    if isinstance(declared, IntRange | FloatRange | Choices):
        return Node(name, declared, default, needs)
    return Node(name, None, declared, needs, constant=True)


def _with_layers(node: Node, nodes: Mapping[str, Node]) -> Node:
    if not node.repeat or node.repeat not in nodes:
        return node
    most = largest_number(nodes[node.repeat]) or 0
    return Node(node.name, node.range, node.value, node.needs, max(0, int(most)))


def largest_number(node: Node) -> float | None:
    """The largest number that the parameter can be; None when it is no number."""
    candidates: list[float] = []
    if isinstance(node.range, IntRange | FloatRange):
        candidates.append(node.range.top)
    elif node.range:
        candidates += _numbers(node.range.choices)
    if node.range is None or node.when:
        candidates += _numbers([node.value])
    return max(candidates, default=None)


def _numbers(values: Iterable[Scalar | None]) -> list[float]:
    return [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
