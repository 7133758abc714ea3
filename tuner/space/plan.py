"""A space made ready to walk: its nodes in an order in which every condition can be answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tuner.parameters import Params, Scalar
from tuner.space.checks import check_conditions, check_count, check_repeat, in_order
from tuner.space.nodes import Node, make_nodes
from tuner.space.ranges import Range


@dataclass(frozen=True)
class Plan:
    """`nodes`: by name, as the file orders them, the catalogue's others last. `order`: parents
    first. `flat`: node and layer (0: not repeated) by each name that Optuna knows."""

    nodes: Mapping[str, Node]
    order: tuple[Node, ...]
    flat: Mapping[str, tuple[Node, int]]

    def resolve(self, value_of: Callable[[str, Range], Scalar]) -> Params:
        """The parameters, with `value_of(flat name, range)` asked for every active one."""
        params: Params = {}
        for node in self.order:
            status = node.status(params)
            if status == "searched" and node.range:
                params[node.name] = _searched(node, node.range, params, value_of)
            elif status == "fixed" and node.value is not None:
                params[node.name] = node.value
        return {name: params[name] for name in self.nodes if name in params}


def _searched(
    node: Node, range_: Range, params: Params, value_of: Callable[[str, Range], Scalar]
) -> Scalar | list[Scalar]:
    if not node.repeat:
        return range_.canonical(value_of(node.name, range_))
    layers = params[node.repeat]
    assert isinstance(layers, int)  # check_repeat has seen to it
    return [range_.canonical(value_of(name, range_)) for name in node.flat_names(layers)]


def make_plan(
    network: str,
    parameters: Mapping[str, Range | Scalar],
    defaults: Mapping[str, Scalar] | None = None,
) -> Plan:
    """`defaults`: those that a study has stored; None: the catalogue's present ones. Raises
    InvalidError for conditions or repeats that cannot work, and too many parameters."""
    nodes = make_nodes(network, parameters, defaults)
    for node in nodes.values():
        check_conditions(node, nodes)
        check_repeat(node, nodes, network)
    check_count(nodes.values())
    order = tuple(in_order(nodes))
    flat = {
        name: (node, layer if node.repeat else 0)
        for node in order
        if node.range
        for layer, name in enumerate(node.flat_names(), start=1)
    }
    return Plan(nodes, order, flat)
