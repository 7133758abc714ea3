"""Configurations in the form that Optuna stores, and how spaces change.

- `SamplingOrder`: a space's nodes in an order in which every condition can be checked.
- `flatten_configuration`: a configuration that a person writes (a baseline, `trial add`) as checked
  flat parameters; what it leaves open is left to the sampler.
- `override_parameters`: `--set name=value` fixes parameters and drops those that become pointless.
- `space_differences`: what differs between two spaces, in the words of their files.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tuner.search_space.checks import (
    check_conditions,
    check_count,
    check_repeat,
    mapping_as_text,
    settle_value,
    sort_by_dependency,
    unknown_parameter_text,
    unreachable_parent,
)
from tuner.search_space.nodes import (
    Node,
    Requirement,
    conditions_hold,
    format_conditions,
    format_in_sentence,
    make_nodes,
)
from tuner.search_space.parameter_types import Params, format_value
from tuner.search_space.parameters import catalogue
from tuner.search_space.ranges import (
    Choices,
    FloatRange,
    IntRange,
    InvalidError,
    Range,
    check_number,
    check_scalar,
    check_whole,
)
from tuner.values import Scalar


@dataclass(frozen=True)
class SamplingOrder:
    """`nodes`: by name, in the file's order, then the catalogue's others. `order`: parents first.
    `flat`: by each name that Optuna knows, the node and its layer (0: not repeated)."""

    nodes: Mapping[str, Node]
    order: tuple[Node, ...]
    flat: Mapping[str, tuple[Node, int]]

    def resolve(self, value_of: Callable[[str, Range], Scalar]) -> Params:
        """The parameters, with `value_of(flat name, range)` asked for every active one."""
        params: Params = {}
        for node in self.order:
            status = node.status(params)
            if status == "searched" and node.range:
                params[node.name] = _ask_values(node, node.range, params, value_of)
            elif status == "fixed" and node.value is not None:
                params[node.name] = node.value
        return {name: params[name] for name in self.nodes if name in params}


def _ask_values(
    node: Node, range_: Range, params: Params, value_of: Callable[[str, Range], Scalar]
) -> Scalar | list[Scalar]:
    if not node.repeat:
        return range_.canonical(value_of(node.name, range_))
    layers = params[node.repeat]
    assert isinstance(layers, int)  # checked by check_repeat
    return [range_.canonical(value_of(name, range_)) for name in node.flat_names(layers)]


def make_order(
    network: str,
    parameters: Mapping[str, Range | Scalar],
    defaults: Mapping[str, Scalar] | None = None,
) -> SamplingOrder:
    """`defaults`: those that a study has stored; None for the catalogue's present ones. Raises
    InvalidError for conditions or repeats that cannot work, and for too many parameters."""
    nodes = make_nodes(network, parameters, defaults)
    for node in nodes.values():
        check_conditions(node, nodes)
        check_repeat(node, nodes, network)
    check_count(nodes.values())
    order = tuple(sort_by_dependency(nodes))
    flat = {
        name: (node, layer if node.repeat else 0)
        for node in order
        if node.range
        for layer, name in enumerate(node.flat_names(), start=1)
    }
    return SamplingOrder(nodes, order, flat)


Point = dict[str, Scalar]
Checked = TypeVar("Checked")


class _Layers(dict[int, Scalar]):
    """A repeated parameter's values by layer, from 1, where layers are named one by one."""


Given = Scalar | list[Scalar] | _Layers


@dataclass
class _Progress:
    """`values`: resolved so far. `open`: parameters left to the sampler, which may be absent or
    have any value. `flat`: the result."""

    values: dict[str, object] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    flat: Point = field(default_factory=dict)

    def holds(self, requirement: Requirement) -> bool | None:
        """Whether it holds; None if that depends on open parameters."""
        decided = {p: values for p, values in requirement.items() if p not in self.open}
        if not conditions_hold(decided, self.values):
            return False
        return True if len(decided) == len(requirement) else None


def flatten_configuration(
    sampling_order: SamplingOrder, configuration: Mapping[str, object]
) -> Point:
    """Optuna's flat parameters: {"depth": 2, "width": [64, 32]} is {"depth": 2, "width_1": 64,
    "width_2": 32}; `width: 64` means every layer, `width_2: 32` one. Constants and defaults may
    be named with the value they have. Raises InvalidError, its first key the name in question."""
    given = _by_parameter(sampling_order, configuration)
    progress = _Progress()
    for node in sampling_order.order:
        _take(node, given.get(node.name), progress)
    return {name: progress.flat[name] for name in sampling_order.flat if name in progress.flat}


def _by_parameter(
    sampling_order: SamplingOrder, configuration: Mapping[str, object]
) -> dict[str, Given]:
    """The configuration by parameter, `width_1: 64` as layer 1 of width."""
    given: dict[str, Given] = {}
    for name, value in configuration.items():
        if name in sampling_order.nodes:
            given[name] = _checked(value, name, partial(_as_parameter, name))
        elif name in sampling_order.flat:
            node, layer = sampling_order.flat[name]
            layers = given.setdefault(node.name, _Layers())
            if not isinstance(layers, _Layers) or node.name in configuration:
                raise InvalidError("is given both as a whole and by layer", node.name)
            layers[layer] = _checked(value, node.name, check_scalar)
        else:
            raise InvalidError(
                unknown_parameter_text(name, sampling_order.nodes, "this space"), name
            )
    return given


def check_value(value: object) -> Scalar | list[Scalar]:
    """One value, or a list of values: one a layer."""
    if isinstance(value, list | tuple):
        return [check_scalar(item) for item in value]
    return check_scalar(value)


def _as_parameter(name: str, value: object) -> Scalar | list[Scalar]:
    return check_value(mapping_as_text(name, value))


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
        progress.values[node.name] = progress.flat[node.name] = value


def _active(node: Node, progress: _Progress) -> bool | None:
    """Whether the parameter exists; None if that depends on open parameters."""
    answers = [progress.holds(node.needs), progress.holds(node.when)]
    if node.repeat:
        answers.append(node.repeat in progress.values or node.repeat in progress.open)
    if False in answers:
        return False
    return None if None in answers else True


def _condition(node: Node) -> str:
    parts = [
        format_conditions({**node.needs, **node.when}),
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
        progress.values[node.name] = node.value
    if given is None or (needs and _is_value(node, given)):
        return
    if node.range or not needs:
        raise InvalidError(
            f"only matters when {_condition(node)}, got {format_value(given)}", node.name
        )
    how = "is fixed to" if node.constant else "is not searched by this space and stays at"
    raise InvalidError(f"{how} {format_value(node.value)}, got {format_value(given)}", node.name)


def _take_layers(node: Node, range_: Range, given: Given | None, progress: _Progress) -> None:
    count = progress.values.get(node.repeat or "")
    if count is None and isinstance(given, list | _Layers):
        text = f"is given by layer while {node.repeat} is left open; name {node.repeat} too"
        raise InvalidError(text, node.name)
    layers = node.most if count is None else count
    assert isinstance(layers, int)  # checked by check_repeat
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


def without_conflicts(
    sampling_order: SamplingOrder, configuration: Mapping[str, object]
) -> dict[str, object]:
    """The part of a configuration that fits the space, which may have changed since."""
    fitting = dict(configuration)
    while True:
        try:
            flatten_configuration(sampling_order, fitting)
        except InvalidError as wrong:
            fitting = {
                name: value
                for name, value in fitting.items()
                if not _is_about(sampling_order, name, wrong)
            }
        else:
            return fitting


def _is_about(sampling_order: SamplingOrder, name: str, wrong: InvalidError) -> bool:
    node = sampling_order.flat[name][0].name if name in sampling_order.flat else name
    return wrong.keys[0] in (name, node)


if TYPE_CHECKING:
    from tuner.search_space.space import Space

_LONGEST = 80


def space_differences(was: "Space", now: "Space") -> list[str]:
    """A line for each parameter that differs, and for the network and the baselines if they do. The
    order of parameters does not count."""
    changes = []
    if was.network != now.network:
        changes.append(format_change("network", was.network, now.network))
    names = [*was.parameters, *(name for name in now.parameters if name not in was.parameters)]
    changes += [
        format_change(name, _describe(was, name), _describe(now, name))
        for name in names
        if _as_json(was, name) != _as_json(now, name)
    ]
    return changes + _baseline_changes(was, now)


def format_change(name: str, was: str, now: str) -> str:
    """ "seed was 0, is 1"; long words are cut, and left out where that makes them the same."""
    was, now = (text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…" for text in (was, now))
    return f"{name} has changed" if was == now else f"{name} was {was}, is {now}"


def _as_json(space: "Space", name: str) -> str | None:
    """What a space declares of a parameter. A default counts as if the space had named it, since
    the trials are the same."""
    # As JSON: Python takes the choices 1, 1.0 and true for equal.
    declared = space.parameters.get(name, space.defaults.get(name))
    if isinstance(declared, IntRange | FloatRange | Choices):
        return _json(declared.model_dump(mode="json"))
    return None if declared is None else _json(declared)


def _describe(space: "Space", name: str) -> str:
    """ "float 0.0001–0.1 log when optimizer is sgd" """
    declared = space.parameters.get(name)
    if declared is None:
        default = space.defaults.get(name)
        return (
            "not in the space" if default is None else f"{format_in_sentence(default)} by default"
        )
    if not isinstance(declared, IntRange | FloatRange | Choices):
        return format_in_sentence(declared)
    if isinstance(declared, Choices):
        words = f"[{declared.describe()}]"
    else:
        words = f"{declared.type} {declared.describe().replace(' … ', '–').replace(',', '')}"
    words += f" one a layer ({declared.repeat})" if declared.repeat else ""
    return words + (f" when {format_conditions(declared.when)}" if declared.when else "")


def _baseline_changes(was: "Space", now: "Space") -> list[str]:
    old, new = ([_json(baseline) for baseline in space.baselines] for space in (was, now))
    if old == new:
        return []
    added, gone = Counter(new) - Counter(old), Counter(old) - Counter(new)
    counts = ((added.total(), "added"), (gone.total(), "removed"))
    parts = ", ".join(f"{count} {what}" for count, what in counts if count)
    return [f"baselines have changed ({parts or 'their order'})"]


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True)


Parameters = dict[str, Range | Scalar]


def override_parameters(
    network: str,
    parameters: Parameters,
    values: Mapping[str, object],
    defaults: Mapping[str, Scalar] | None = None,
) -> Parameters:
    """The parameters with `values` in place of what they were. Others that can no longer
    be active (momentum once the optimizer is adam) are dropped, and so are the values of a
    `when` that can no longer occur. Raises InvalidError, its first key the name in question."""
    fixed = {name: _fixed(network, name, parameters, value) for name, value in values.items()}
    changed = {**parameters, **fixed}
    while True:  # what is dropped may be what something else depended on
        nodes = make_nodes(network, changed, defaults)
        reduced = {name: _reduced(nodes[name], nodes) for name in changed if name not in fixed}
        merged = {name: fixed.get(name, reduced.get(name)) for name in changed}
        remaining = {name: declared for name, declared in merged.items() if declared is not None}
        if remaining == changed:
            return remaining
        changed = remaining


def _fixed(network: str, name: str, parameters: Parameters, value: object) -> Scalar:
    """The value, of the type that the space asks for; the catalogue's own check comes later."""
    declared = None if name in catalogue(network) else parameters.get(name)
    try:
        if isinstance(declared, IntRange):
            return check_whole(value)
        if isinstance(declared, FloatRange):
            return float(check_number(value))
        if isinstance(declared, Choices) and (reason := declared.refusal(value)):
            raise InvalidError(reason)
        scalar = check_scalar(mapping_as_text(name, value))
        return settle_value(network, parameters, name, scalar)
    except InvalidError as wrong:
        raise wrong.under(name) from None


def _reduced(node: Node, nodes: Mapping[str, Node]) -> Range | Scalar | None:
    """What is left of a parameter that was not set: None when it can never be active."""
    if unreachable_parent(node, nodes) or (node.repeat and node.repeat not in nodes):
        return None
    if node.range is None:
        return node.value
    when = {
        parent: tuple(value for value in values if parent in nodes and nodes[parent].takes(value))
        for parent, values in node.range.when.items()
    }
    return node.range.model_copy(update={"when": when}) if all(when.values()) else None
