"""What a parameter may be over the trials of a study, where that is more than one value."""

from collections.abc import Iterable, Mapping

from tuner.parameters import Params, Scalar, same
from tuner.space.nodes import Node
from tuner.space.ranges import Choices

Values = tuple[Scalar, ...]


def possible(nodes: Mapping[str, Node]) -> dict[str, Values]:
    """By parameter: all choices, or both ends of a range; and the default where a trial can have
    that instead."""
    return _varying({name: _values(node, nodes) for name, node in nodes.items()})


def among(points: Iterable[Params]) -> dict[str, Values]:
    """The same of trials that are known one by one: all values that they have."""
    found: dict[str, list[Scalar]] = {}
    for point in points:
        for name, value in point.items():
            found.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return _varying(found)


def _varying(found: Mapping[str, Iterable[Scalar]]) -> dict[str, Values]:
    distinct = {name: tuple(dict.fromkeys(values)) for name, values in found.items()}
    return {name: values for name, values in distinct.items() if len(values) > 1}


def _values(node: Node, nodes: Mapping[str, Node]) -> Values:
    match node.range:
        case None:
            return ()
        case Choices():
            values: Values = node.range.choices
        case _:
            values = (node.range.low, node.range.top)
    return values if node.value is None or not _steps_aside(node, nodes) else (*values, node.value)


def _steps_aside(node: Node, nodes: Mapping[str, Node]) -> bool:
    """Whether the file's condition can fail in a trial in which the catalogue's holds: the
    parameter has its default then. Where that is hard to say, it can."""
    return any(
        _may_miss(nodes[parent], wanted, node.needs.get(parent))
        for parent, wanted in node.when.items()
    )


def _may_miss(parent: Node, wanted: Iterable[Scalar], needed: Values | None) -> bool:
    if needed is not None:
        return any(parent.takes(value) for value in needed if not _among(value, wanted))
    values = parent.range.values() if parent.range else (parent.value,)
    return bool(parent.parents) or any(not _among(value, wanted) for value in values)


def _among(value: Scalar | None, values: Iterable[Scalar]) -> bool:
    return any(same(value, other) for other in values)
