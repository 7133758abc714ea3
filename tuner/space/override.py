"""`--set name=value`: a space with some parameters fixed, and what that makes moot left out."""

from collections.abc import Mapping

from tuner.catalogue import catalogue
from tuner.parameters import Scalar
from tuner.space.checks import settled, unreachable
from tuner.space.nodes import Node, make_nodes
from tuner.space.ranges import Choices, FloatRange, IntRange, Range
from tuner.space.scalars import InvalidError, check_number, check_scalar, check_whole

Parameters = dict[str, Range | Scalar]


def overridden(
    network: str,
    parameters: Parameters,
    values: Mapping[str, object],
    defaults: Mapping[str, Scalar] | None = None,
) -> Parameters:
    """The parameters with `values` in place of what was said of them. Others that can no longer
    be active (momentum once the optimizer is adam) are dropped, and so are the values of a
    `when` that can no longer occur. Raises InvalidError, its first key the name in question."""
    fixed = {name: _fixed(network, name, parameters, value) for name, value in values.items()}
    changed = {**parameters, **fixed}
    while True:  # what is dropped may be what something else depended on
        nodes = make_nodes(network, changed, defaults)
        reduced = {name: _reduced(nodes[name], nodes) for name in changed if name not in fixed}
        kept = {name: fixed.get(name, reduced.get(name)) for name in changed}
        remaining = {name: said for name, said in kept.items() if said is not None}
        if remaining == changed:
            return remaining
        changed = remaining


def _fixed(network: str, name: str, parameters: Parameters, value: object) -> Scalar:
    """The value, of the type that the space asks for; the catalogue's own check comes later."""
    said = None if name in catalogue(network) else parameters.get(name)
    try:
        if isinstance(said, IntRange):
            return check_whole(value)
        if isinstance(said, FloatRange):
            return float(check_number(value))
        if isinstance(said, Choices) and (reason := said.refusal(value)):
            raise InvalidError(reason)
        return settled(network, parameters, name, check_scalar(value))
    except InvalidError as wrong:
        raise wrong.under(name) from None


def _reduced(node: Node, nodes: Mapping[str, Node]) -> Range | Scalar | None:
    """What is left of a parameter that was not set: None when it can never be active."""
    if unreachable(node, nodes) or (node.repeat and node.repeat not in nodes):
        return None
    if node.range is None:
        return node.value
    when = {
        parent: tuple(value for value in values if parent in nodes and nodes[parent].takes(value))
        for parent, values in node.range.when.items()
    }
    return node.range.model_copy(update={"when": when}) if all(when.values()) else None
