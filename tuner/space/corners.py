"""Configurations that show whether a network can be built all over a space: its smallest and its
largest corner, then every choice of each categorical parameter; and random ones."""

import random
from collections.abc import Iterator

from tuner.parameters import Params, Scalar, same
from tuner.space.nodes import Node
from tuner.space.plan import Plan
from tuner.space.ranges import Choices, FloatRange, Range


def corner_configurations(plan: Plan) -> Iterator[Params]:
    """Valid configurations, each different: all numbers at their smallest with the first choices,
    at their largest with the last ones, then what neither had. Few, since one shows a choice of
    each parameter at a time; a choice whose conditions exclude each other is left out."""
    walk = _Walk(plan)
    seen: list[Params] = []
    for params in walk.configurations():
        if params not in seen:
            seen.append(params)
            yield params


def random_configurations(plan: Plan, count: int, seed: int = 0) -> Iterator[Params]:
    """So many, drawn evenly; some may be equal."""
    draw = random.Random(seed)
    for _ in range(count):
        yield plan.resolve(lambda _, range_: _drawn(range_, draw))


def _drawn(range_: Range, draw: random.Random) -> Scalar:
    match range_:
        case Choices():
            return draw.choice(range_.choices)
        case FloatRange():
            return range_.canonical(draw.uniform(range_.low, range_.top))
        case _:
            return draw.randrange(range_.low, range_.top + 1, range_.step)


class _Walk:
    """`missing`: the values of each parameter that no configuration had yet: all choices, or both
    ends of a range."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._missing = {
            node.name: list(_ends(node.range)) for node in plan.order if node.range is not None
        }

    def configurations(self) -> Iterator[Params]:
        for end in (0, -1):
            yield self._resolve({}, end)
        # Categorical parameters first: should time run out, a corner was tried of the others.
        nodes = sorted(self._searched(), key=lambda node: not isinstance(node.range, Choices))
        for node in nodes:
            for value in self._wanting(node):
                if value in self._missing[node.name]:
                    yield self._resolve(self._forced(node, value), 0)
                    self._have(node, value)  # also where its conditions cannot hold

    def _wanting(self, node: Node) -> list[Scalar]:
        """All choices that are missing; of a number one end, if no configuration has had it yet."""
        missing = self._missing[node.name]
        if isinstance(node.range, Choices):
            return list(missing)
        return missing[:1] if node.range and len(missing) == len(_ends(node.range)) else []

    def _searched(self) -> list[Node]:
        return [node for node in self._plan.order if node.range is not None]

    def _have(self, node: Node, value: Scalar) -> None:
        missing = self._missing[node.name]
        missing[:] = [other for other in missing if not same(other, value)]

    def _resolve(self, forced: dict[str, Scalar], end: int) -> Params:
        corner = not forced

        def value_of(name: str, range_: Range) -> Scalar:
            node = self._plan.flat[name][0]
            missing = self._missing[node.name]
            if node.name in forced:
                value = forced[node.name]
            elif corner and not (node.repeat and isinstance(range_, Choices) and missing):
                value = _ends(range_)[end]
            else:
                value = missing[0] if missing else _ends(range_)[end]
            self._have(node, value)
            return value

        return self._plan.resolve(value_of)

    def _forced(self, node: Node, value: Scalar) -> dict[str, Scalar]:
        """The values that others need to have for this parameter to have this one."""
        forced = {node.name: value}
        open_nodes = [node]
        while open_nodes:
            child = open_nodes.pop()
            for parent_name, wanted in self._wanted(child):
                parent = self._plan.nodes[parent_name]
                if parent.range is None or parent_name in forced:
                    continue
                fitting = [v for v in wanted if parent.range.refusal(v) is None]
                if fitting:
                    forced[parent_name] = parent.range.canonical(fitting[0])
                    open_nodes.append(parent)
        return forced

    def _wanted(self, node: Node) -> Iterator[tuple[str, tuple[Scalar, ...]]]:
        yield from node.needs.items()
        yield from node.when.items()
        counting = self._plan.nodes.get(node.repeat or "")
        if counting is not None and counting.range is not None:
            numbers = [v for v in _ends(counting.range) if not isinstance(v, str)]
            yield counting.name, (max(numbers, default=0),)


def _ends(range_: Range) -> tuple[Scalar, ...]:
    return range_.choices if isinstance(range_, Choices) else (range_.low, range_.top)
