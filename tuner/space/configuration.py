"""A configuration that a person writes (a baseline, `trial add`) made into checked parameters
for Optuna. Some of it may be left open for the sampler."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from tuner.parameters import Scalar, shown
from tuner.space.checks import unknown_parameter
from tuner.space.nodes import Node, Requirement, hold, in_words
from tuner.space.plan import Plan
from tuner.space.ranges import Range
from tuner.space.scalars import InvalidError, check_scalar

Point = dict[str, Scalar]
Checked = TypeVar("Checked")


class _Layers(dict[int, Scalar]):
    """A repeated parameter's values by layer, from 1, where layers are named one by one."""


Given = Scalar | list[Scalar] | _Layers


@dataclass
class _Progress:
    """`known`: resolved so far. `open`: left to the sampler, so present with an unknown value, or
    perhaps not present. `flat`: the result."""

    known: dict[str, object] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    flat: Point = field(default_factory=dict)

    def holds(self, requirement: Requirement) -> bool | None:
        """Whether it holds; None when that depends on what is open."""
        decided = {p: values for p, values in requirement.items() if p not in self.open}
        if not hold(decided, self.known):
            return False
        return True if len(decided) == len(requirement) else None


def flatten(plan: Plan, configuration: Mapping[str, object]) -> Point:
    """Optuna's flat parameters: {"depth": 2, "width": [64, 32]} is {"depth": 2, "width_1": 64,
    "width_2": 32}; `width: 64` means every layer, `width_2: 32` one. Constants and defaults may
    be named with the value they have. Raises InvalidError, its first key the name in question."""
    given = _by_parameter(plan, configuration)
    progress = _Progress()
    for node in plan.order:
        _take(node, given.get(node.name), progress)
    return {name: progress.flat[name] for name in plan.flat if name in progress.flat}


def _by_parameter(plan: Plan, configuration: Mapping[str, object]) -> dict[str, Given]:
    """The configuration by parameter, `width_1: 64` as layer 1 of width."""
    given: dict[str, Given] = {}
    for name, value in configuration.items():
        if name in plan.nodes:
            given[name] = _checked(value, name, check_value)
        elif name in plan.flat:
            node, layer = plan.flat[name]
            layers = given.setdefault(node.name, _Layers())
            if not isinstance(layers, _Layers) or node.name in configuration:
                raise InvalidError("is given both as a whole and by layer", node.name)
            layers[layer] = _checked(value, node.name, check_scalar)
        else:
            raise InvalidError(unknown_parameter(name, plan.nodes, "this space"), name)
    return given


def check_value(value: object) -> Scalar | list[Scalar]:
    """One value, or a list of values: one a layer."""
    if isinstance(value, list | tuple):
        return [check_scalar(item) for item in value]
    return check_scalar(value)


def _checked(value: object, name: str, check: Callable[[object], Checked]) -> Checked:
    try:
        return check(value)
    except InvalidError as wrong:
        raise wrong.under(name) from None


def _take(node: Node, given: Given | None, progress: _Progress) -> None:
    active = _active(node, progress)
    if active is None:
        if given is not None and (node.range or not _is_value(node, given)):
            raise InvalidError(f"only matters when {_condition(node)}; name that too", node.name)
        progress.open.add(node.name)
    elif not (active and node.range):
        _take_fixed(node, given, progress)
    elif node.repeat:
        _take_layers(node, node.range, given, progress)
    elif given is None:
        progress.open.add(node.name)
    else:
        value = _accepted(node.range, given, node.name)
        progress.known[node.name] = progress.flat[node.name] = value


def _active(node: Node, progress: _Progress) -> bool | None:
    """Whether the parameter is there; None when that depends on what is open."""
    answers = [progress.holds(node.needs), progress.holds(node.when)]
    if node.repeat:
        answers.append(node.repeat in progress.known or node.repeat in progress.open)
    if False in answers:
        return False
    return None if None in answers else True


def _condition(node: Node) -> str:
    parts = [
        in_words({**node.needs, **node.when}),
        f"{node.repeat} is there" if node.repeat else "",
    ]
    return " and ".join(part for part in parts if part)


def _is_value(node: Node, given: Given) -> bool:
    return not isinstance(given, list | _Layers) and node.is_value(given)


def _take_fixed(node: Node, given: Given | None, progress: _Progress) -> None:
    """A constant, a default, or a parameter whose condition fails."""
    needs = progress.holds(node.needs)
    if needs is None:
        progress.open.add(node.name)
    elif needs and node.value is not None:
        progress.known[node.name] = node.value
    if given is None or (needs and _is_value(node, given)):
        return
    if node.range or not needs:
        raise InvalidError(f"only matters when {_condition(node)}, got {shown(given)}", node.name)
    how = "is fixed to" if node.constant else "is not searched by this space and stays at"
    raise InvalidError(f"{how} {shown(node.value)}, got {shown(given)}", node.name)


def _take_layers(node: Node, range_: Range, given: Given | None, progress: _Progress) -> None:
    count = progress.known.get(node.repeat or "")
    if count is None and isinstance(given, list | _Layers):
        text = f"is given by layer while {node.repeat} is left open; name {node.repeat} too"
        raise InvalidError(text, node.name)
    layers = node.most if count is None else count
    assert isinstance(layers, int)  # check_repeat has seen to it
    for layer, value in _by_layer(node, given, layers).items():
        progress.flat[f"{node.name}_{layer}"] = _accepted(range_, value, node.name)


def _by_layer(node: Node, given: Given | None, layers: int) -> dict[int, Scalar]:
    if given is None:
        return {}
    if isinstance(given, _Layers):
        if max(given) > layers:
            raise InvalidError(
                f"has {layers} layers, got a value for layer {max(given)}", node.name
            )
        return given
    if not isinstance(given, list):
        return dict.fromkeys(range(1, layers + 1), given)
    if len(given) != layers:
        raise InvalidError(
            f"must have one value for each of {layers} layers, got {len(given)}", node.name
        )
    return dict(enumerate(given, start=1))


def _accepted(range_: Range, value: Given, name: str) -> Scalar:
    reason = range_.refusal(value)
    if reason or isinstance(value, list | _Layers):
        raise InvalidError(reason or "must be one value", name)
    return range_.canonical(value)


def without_conflicts(plan: Plan, configuration: Mapping[str, object]) -> dict[str, object]:
    """The part of a configuration that still fits a space which has been changed since."""
    kept = dict(configuration)
    while True:
        try:
            flatten(plan, kept)
        except InvalidError as wrong:
            kept = {name: value for name, value in kept.items() if not _is_about(plan, name, wrong)}
        else:
            return kept


def _is_about(plan: Plan, name: str, wrong: InvalidError) -> bool:
    node = plan.flat[name][0].name if name in plan.flat else name
    return wrong.keys[0] in (name, node)
