"""Configurations that a space yields without a sampler.

- Its grid: every point of a conditional space once, and how many there are. Optuna's own grid
  repeats the combinations of inactive parameters and stops the study from outside, so the points
  are made here and enqueued.
- What each parameter can be in the trials of a study.
- Corners and random configurations, which show whether a network can be built all over the space.
- The configurations that a space names one by one.
"""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tuner.search_space.configurations import SamplingOrder, flatten_configuration
from tuner.search_space.nodes import Node
from tuner.search_space.parameter_types import Params, equal_values
from tuner.search_space.ranges import Choices, FloatRange, InvalidError, Range
from tuner.values import Scalar

MOST_POINTS = 10_000  # more cannot be trained
MOST_STEPS = 100_000  # of counting, under a second; a space that needs more is too large to train

Point = dict[str, Scalar]
State = frozenset[tuple[str, object]]  # the values, so far, that later conditions name
OTHER = object()  # a value that no condition names


class _Slot(NamedTuple):
    """One flat name in the walk; `layer` counts from 1 and matters for repeated parameters."""

    name: str
    node: Node
    layer: int


class _Option(NamedTuple):
    """One value that a slot may have; None: the parameter is absent."""

    value: Scalar | None
    searched: bool


def grid_points(order: SamplingOrder) -> Iterator[Point]:
    """The grid's points as flat parameters, the first parameter varying slowest. Only for a space
    whose `count_points` is not None."""
    slots = [
        _Slot(name, node, layer)
        for node in order.order
        for layer, name in enumerate(node.flat_names(), start=1)
    ]
    if not slots:  # a function that trains by itself may have no parameters
        yield {}
        return
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


def count_points(order: SamplingOrder) -> int | None:
    """How many points the grid has, without making them. None if it is not finite (a float without
    a step can be active) or if counting takes more than MOST_STEPS."""
    settled = frozenset((node.name, node.value) for node in order.order if _settled(node))
    total = 1
    for nodes in _groups(order):
        count = _count(nodes, settled)
        if count is None:
            return None
        total *= count
    return total


def _settled(node: Node) -> bool:
    """Whether it always exists and has one value, so that nothing branches on it."""
    return node.range is None and not node.needs


def _groups(order: SamplingOrder) -> list[list[Node]]:
    """The unsettled nodes in groups that share no condition: their sizes multiply."""
    label: dict[str, int] = {}
    for number, node in enumerate(order.order):
        if _settled(node):
            continue
        joined = {label[parent] for parent in node.parents if parent in label}
        label[node.name] = number
        label.update({name: number for name, old in label.items() if old in joined})
    groups: dict[int, list[Node]] = defaultdict(list)
    for node in order.order:
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
        named = _named_values(node, later)
        grown: Counter[State] = Counter()
        for state, ways in states.items():
            for value, more in _outcomes(node, dict(state), named):
                if more is None or (steps := steps + 1) > MOST_STEPS:
                    return None
                reached = state if value is None else state | {(node.name, value)}
                grown[frozenset(item for item in reached if item[0] in needed)] += ways * more
        states = grown
    return states.total()


def _named_values(node: Node, later: Iterable[Node]) -> Collection[Scalar]:
    """The values of `node` that later conditions name; all, if later nodes repeat over it."""
    if node.range is None or node.repeat:
        return ()
    named: set[Scalar] = set()
    for other in later:
        if other.repeat == node.name:
            return list(node.range.values())
        named.update(other.when.get(node.name, ()), other.needs.get(node.name, ()))
    return {node.range.canonical(value) for value in named if node.range.refusal(value) is None}


def _outcomes(
    node: Node, values: Mapping[str, object], named: Collection[Scalar]
) -> Iterator[tuple[object, int | None]]:
    """The values to distinguish, each with the number of values that it stands for."""
    status = node.status(values)
    if status != "searched" or node.range is None:
        yield (node.value if status == "fixed" else None), 1
    elif node.repeat:
        layers = values[node.repeat]
        assert isinstance(layers, int)  # checked by check_repeat
        yield None, (1 if layers == 0 else node.range.size and node.range.size**layers)
    else:
        yield from ((value, 1) for value in named)
        if node.range.size != len(named):
            yield OTHER, (node.range.size and node.range.size - len(named))


Values = tuple[Scalar, ...]


def possible_values(nodes: Mapping[str, Node]) -> dict[str, Values]:
    """By parameter: all choices, or both ends of a range; and the default if a trial can have that
    instead."""
    return _keep_varying({name: _node_values(node, nodes) for name, node in nodes.items()})


def varying_values(points: Iterable[Params]) -> dict[str, Values]:
    """The same for trials whose params are given: all values that they have."""
    by_name: dict[str, list[Scalar]] = {}
    for point in points:
        for name, value in point.items():
            by_name.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return _keep_varying(by_name)


def _keep_varying(by_name: Mapping[str, Iterable[Scalar]]) -> dict[str, Values]:
    distinct = {name: tuple(dict.fromkeys(values)) for name, values in by_name.items()}
    return {name: values for name, values in distinct.items() if len(values) > 1}


def _node_values(node: Node, nodes: Mapping[str, Node]) -> Values:
    match node.range:
        case None:
            return ()
        case Choices():
            values: Values = node.range.choices
        case _:
            values = (node.range.low, node.range.top)
    return (
        values
        if node.value is None or not _can_have_default(node, nodes)
        else (*values, node.value)
    )


def _can_have_default(node: Node, nodes: Mapping[str, Node]) -> bool:
    """Whether the file's condition can fail in a trial in which the catalogue's holds: the
    parameter has its default then. True also if that is hard to decide."""
    return any(
        _can_miss(nodes[parent], wanted, node.needs.get(parent))
        for parent, wanted in node.when.items()
    )


def _can_miss(parent: Node, wanted: Iterable[Scalar], needed: Values | None) -> bool:
    if needed is not None:
        return any(parent.takes(value) for value in needed if not _among(value, wanted))
    values = parent.range.values() if parent.range else (parent.value,)
    return bool(parent.parents) or any(not _among(value, wanted) for value in values)


def _among(value: Scalar | None, values: Iterable[Scalar]) -> bool:
    return any(equal_values(value, other) for other in values)


def corner_configurations(order: SamplingOrder) -> Iterator[Params]:
    """Valid configurations, each different: all numbers at their smallest with the first choices,
    all at their largest with the last choices, then what neither had. They are few, since each
    shows a new choice of several parameters at once. A choice whose conditions exclude each other
    is left out."""
    walk = _Walk(order)
    seen: list[Params] = []
    for params in walk.configurations():
        if params not in seen:
            seen.append(params)
            yield params


def random_configurations(order: SamplingOrder, count: int, seed: int = 0) -> Iterator[Params]:
    """`count` configurations, drawn uniformly; some may be equal."""
    generator = random.Random(seed)
    for _ in range(count):
        yield order.resolve(lambda _, range_: _draw(range_, generator))


def draw_point(order: SamplingOrder, generator: random.Random) -> Point:
    """A random configuration as flat parameters."""
    point: Point = {}

    def value_of(name: str, range_: Range) -> Scalar:
        point[name] = _draw(range_, generator)
        return point[name]

    order.resolve(value_of)
    return point


def _draw(range_: Range, generator: random.Random) -> Scalar:
    match range_:
        case Choices():
            return generator.choice(range_.choices)
        case FloatRange():
            return range_.canonical(generator.uniform(range_.low, range_.top))
        case _:
            return generator.randrange(range_.low, range_.top + 1, range_.step)


class _Walk:
    """Makes corner configurations. `missing`: the values of each parameter that no configuration
    has had yet: of all choices, or of both ends of a range."""

    def __init__(self, order: SamplingOrder) -> None:
        self._order = order
        self._missing = {
            node.name: list(_ends(node.range)) for node in order.order if node.range is not None
        }

    def configurations(self) -> Iterator[Params]:
        for end in (0, -1):
            yield self._resolve({}, end)
        # Categorical parameters first: if time runs out, corners have shown the others.
        nodes = sorted(self._searched(), key=lambda node: not isinstance(node.range, Choices))
        for node in nodes:
            for value in self._values_to_show(node):
                if value in self._missing[node.name]:
                    yield self._resolve(self._forced(node, value), 0)
                    self._mark(node, value)  # also if its conditions cannot hold

    def _values_to_show(self, node: Node) -> list[Scalar]:
        """All missing choices; of a number one end, if no configuration has had either."""
        missing = self._missing[node.name]
        if isinstance(node.range, Choices):
            return list(missing)
        return missing[:1] if node.range and len(missing) == len(_ends(node.range)) else []

    def _searched(self) -> list[Node]:
        return [node for node in self._order.order if node.range is not None]

    def _mark(self, node: Node, value: Scalar) -> None:
        missing = self._missing[node.name]
        missing[:] = [other for other in missing if not equal_values(other, value)]

    def _resolve(self, forced: dict[str, Scalar], end: int) -> Params:
        corner = not forced

        def value_of(name: str, range_: Range) -> Scalar:
            node = self._order.flat[name][0]
            missing = self._missing[node.name]
            if node.name in forced:
                value = forced[node.name]
            elif corner and not (node.repeat and isinstance(range_, Choices) and missing):
                value = _ends(range_)[end]
            else:
                value = missing[0] if missing else _ends(range_)[end]
            self._mark(node, value)
            return value

        return self._order.resolve(value_of)

    def _forced(self, node: Node, value: Scalar) -> dict[str, Scalar]:
        """The values that other parameters need, for this one to have `value`."""
        forced = {node.name: value}
        open_nodes = [node]
        while open_nodes:
            child = open_nodes.pop()
            for parent_name, wanted in self._required(child):
                parent = self._order.nodes[parent_name]
                if parent.range is None or parent_name in forced:
                    continue
                fitting = [v for v in wanted if parent.range.refusal(v) is None]
                if fitting:
                    forced[parent_name] = parent.range.canonical(fitting[0])
                    open_nodes.append(parent)
        return forced

    def _required(self, node: Node) -> Iterator[tuple[str, tuple[Scalar, ...]]]:
        yield from node.needs.items()
        yield from node.when.items()
        counting = self._order.nodes.get(node.repeat or "")
        if counting is not None and counting.range is not None:
            numbers = [v for v in _ends(counting.range) if not isinstance(v, str)]
            yield counting.name, (max(numbers, default=0),)


def _ends(range_: Range) -> tuple[Scalar, ...]:
    return range_.choices if isinstance(range_, Choices) else (range_.low, range_.top)


def list_baselines(
    order: SamplingOrder, baselines: Iterable[Mapping[str, object]]
) -> list[dict[str, Scalar]]:
    """A space's baselines as flat parameters, each complete and none twice. Raises InvalidError."""
    flat_baselines: list[dict[str, Scalar]] = []
    number_of: dict[str, int] = {}
    for number, baseline in enumerate(baselines):
        flat = flatten_configuration(order, baseline)
        _check_complete(order, flat, number)
        # As JSON: Python takes 1, 1.0 and true for equal.
        first = number_of.setdefault(json.dumps(flat, sort_keys=True), number)
        if first != number:
            raise InvalidError(f"is the same as baselines[{first}]", "baselines", number)
        flat_baselines.append(flat)
    return flat_baselines


def list_grid(order: SamplingOrder, size: int) -> list[dict[str, Scalar]]:
    """The points of the grid, `size` in number. Raises InvalidError for more than MOST_POINTS."""
    if size > MOST_POINTS:
        raise InvalidError(
            f"the grid has {size:,} points, more than {MOST_POINTS:,}; fix parameters "
            "with --set, or name configurations under baselines"
        )
    return list(grid_points(order))


def _check_complete(order: SamplingOrder, flat: Mapping[str, Scalar], number: int) -> None:
    def value_of(name: str, _range: Range) -> Scalar:
        if name not in flat:
            text = f"leaves {name} open, and nothing is searched here: give it a value"
            raise InvalidError(text, "baselines", number)
        return flat[name]

    order.resolve(value_of)
