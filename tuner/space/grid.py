"""Every point of a conditional space once, and how many there are.

Optuna's own grid repeats the combinations of inactive parameters and stops the study from
outside, so the points are made here and enqueued.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tuner.parameters import Scalar
from tuner.space.nodes import Node
from tuner.space.plan import Plan

MOST_POINTS = 10_000  # that anyone can train
MOST_STEPS = 100_000  # of counting, under a second; whoever needs more has no grid to train

Point = dict[str, Scalar]
State = frozenset[tuple[str, object]]  # the values, so far, that later conditions ask for
OTHER = object()  # a value that no condition asks for


class _Slot(NamedTuple):
    """One flat name in the walk; `layer` counts from 1 and matters for repeated parameters."""

    name: str
    node: Node
    layer: int


class _Option(NamedTuple):
    """One value that a slot may have; None: the parameter is absent."""

    value: Scalar | None
    searched: bool


def points(plan: Plan) -> Iterator[Point]:
    """The grid's points as flat parameters, the first parameter varying slowest. Only for a plan
    of which `size` says that it is finite."""
    slots = [
        _Slot(name, node, layer)
        for node in plan.order
        for layer, name in enumerate(node.flat_names(), start=1)
    ]
    values: dict[str, Scalar] = {}
    point: Point = {}
    # A stack of iterators instead of a recursion, which could be a thousand calls deep.
    walk = [iter(_options(slots[0], values))]
    while walk:
        name = slots[len(walk) - 1].name
        values.pop(name, None)
        point.pop(name, None)
        option = next(walk[-1], None)
        if option is None:
            walk.pop()
            continue
        if option.value is not None:
            values[name] = option.value
            point |= {name: option.value} if option.searched else {}
        if len(walk) == len(slots):
            yield dict(point)
        else:
            walk.append(iter(_options(slots[len(walk)], values)))


def _options(slot: _Slot, values: Mapping[str, Scalar]) -> Iterable[_Option]:
    """What the slot may be after the `values` of those before it."""
    node = slot.node
    status = node.status(values)
    if status == "fixed":
        return (_Option(node.value, searched=False),)
    if status == "absent" or node.range is None:
        return (_Option(None, searched=False),)
    if node.repeat and slot.layer > int(values[node.repeat]):
        return (_Option(None, searched=False),)
    return (_Option(value, searched=True) for value in node.range.values())


def size(plan: Plan) -> int | None:
    """How many points the grid has, without making them. None where it is not finite (a float
    without a step that can be active) or too entangled to count within MOST_STEPS."""
    settled = frozenset((node.name, node.value) for node in plan.order if _settled(node))
    total = 1
    for nodes in _groups(plan):
        count = _count(nodes, settled)
        if count is None:
            return None
        total *= count
    return total


def _settled(node: Node) -> bool:
    """Always there with one value, so that nothing branches on it."""
    return node.range is None and not node.needs


def _groups(plan: Plan) -> list[list[Node]]:
    """The unsettled nodes in groups that share no condition: their sizes multiply."""
    label: dict[str, int] = {}
    for number, node in enumerate(plan.order):
        if _settled(node):
            continue
        joined = {label[parent] for parent in node.parents if parent in label}
        label[node.name] = number
        label.update({name: number for name, old in label.items() if old in joined})
    groups: dict[int, list[Node]] = defaultdict(list)
    for node in plan.order:
        if node.name in label:
            groups[label[node.name]].append(node)
    return list(groups.values())


def _count(nodes: Sequence[Node], settled: State) -> int | None:
    """The points of one group: for every state, in how many ways it is reached."""
    states: Counter[State] = Counter({settled: 1})
    steps = 0
    for index, node in enumerate(nodes):
        later = nodes[index + 1 :]
        needed = {parent for other in later for parent in other.parents}
        asked = _asked(node, later)
        grown: Counter[State] = Counter()
        for state, ways in states.items():
            for value, more in _outcomes(node, dict(state), asked):
                if more is None or (steps := steps + 1) > MOST_STEPS:
                    return None
                reached = state if value is None else state | {(node.name, value)}
                grown[frozenset(item for item in reached if item[0] in needed)] += ways * more
        states = grown
    return states.total()


def _asked(node: Node, later: Iterable[Node]) -> Collection[Scalar]:
    """The values of `node` that later nodes tell apart: all, where they repeat over it."""
    if node.range is None or node.repeat:
        return ()
    named: set[Scalar] = set()
    for other in later:
        if other.repeat == node.name:
            return list(node.range.values())
        named.update(other.when.get(node.name, ()), other.needs.get(node.name, ()))
    return {node.range.canonical(value) for value in named if node.range.refusal(value) is None}


def _outcomes(
    node: Node, values: Mapping[str, object], asked: Collection[Scalar]
) -> Iterator[tuple[object, int | None]]:
    """The values to tell apart, each with the number of values that it stands for."""
    status = node.status(values)
    if status != "searched" or node.range is None:
        yield (node.value if status == "fixed" else None), 1
    elif node.repeat:
        layers = values[node.repeat]
        assert isinstance(layers, int)  # check_repeat has seen to it
        yield None, (1 if layers == 0 else node.range.size and node.range.size**layers)
    else:
        yield from ((value, 1) for value in asked)
        if node.range.size != len(asked):
            yield OTHER, (node.range.size and node.range.size - len(asked))
