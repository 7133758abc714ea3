"""What must hold between the parameters of a space, and between it and the catalogue. Every
function raises `InvalidError`, with keys that begin at the parameter's name.

What a search-space file says beside the space: its data, their columns, and known results.
"""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from tuner.search_space.nodes import Node, in_words
from tuner.search_space.parameter_types import Parameter, format_value, sort_by_similarity
from tuner.search_space.parameters import NETWORKS, catalogue
from tuner.search_space.ranges import (
    Choices,
    FloatRange,
    IntRange,
    InvalidError,
    Range,
    check_distinct,
    check_number,
    check_scalar,
)
from tuner.values import Scalar, as_switch

# What a user may say that a column of a table is; `ColumnKind` in spec.py.
COLUMN_KINDS = ("number", "category", "text", "date", "drop", "target")

_SCALAR = {"type": ["boolean", "integer", "number", "string"]}

# By the file's key, its JSON Schema.
EXTRAS_SCHEMA: dict[str, dict[str, Any]] = {
    "data": {
        "title": "Data",
        "description": "The data that are meant: a source, or a mapping with one.",
        "anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": _SCALAR}],
    },
    "columns": {
        "title": "Columns",
        "description": "What columns of the data's table are, by name, where tuner takes them for "
        "something else.",
        "type": "object",
        "additionalProperties": {"type": "string", "enum": [*COLUMN_KINDS]},
    },
    "references": {
        "title": "References",
        "description": "A known result for each baseline (accuracy in percent), null for none.",
        "type": "array",
        "items": {"type": ["number", "null"]},
    },
}


def check_data(value: object) -> dict[str, Scalar]:
    """`mnist` as {"source": "mnist"}; a mapping as it is. Which keys there are is the data's
    affair. Raises InvalidError."""
    if isinstance(value, str):
        value = {"source": value}
    if not isinstance(value, dict):
        raise InvalidError("must be a source, or a mapping such as {source: mnist}", "data")
    if "columns" in value:
        raise InvalidError("belongs beside data, as a section of its own", "data", "columns")
    return {key: _setting(key, said) for key, said in value.items()}


def _setting(key: str, value: object) -> Scalar:
    try:
        return check_scalar(value)
    except InvalidError as wrong:
        raise wrong.under("data", key) from None


def check_columns(value: object) -> dict[str, str]:
    """Kinds of columns by name. Raises InvalidError."""
    if not isinstance(value, dict):
        raise InvalidError("must be a mapping such as {zip: category}", "columns")
    for name, kind in value.items():
        if reason := wrong_kind(kind):
            raise InvalidError(reason, "columns", str(name))
    return {str(name): kind for name, kind in value.items()}


def wrong_kind(kind: object) -> str:
    """Why a column cannot be of this kind, or ""."""
    if kind in COLUMN_KINDS:
        return ""
    kinds = ", ".join(sort_by_similarity(str(kind), COLUMN_KINDS))
    return f"must be one of {kinds}; got {format_value(kind)}"


def check_references(value: object, baselines: int) -> tuple[float | None, ...]:
    """A number or None for each baseline; an empty list says nothing. Raises InvalidError."""
    if not isinstance(value, list | tuple):
        raise InvalidError("must be a list", "references")
    if value and len(value) != baselines:
        raise InvalidError(
            f"must have one entry for each of {baselines} baselines, got {len(value)}",
            "references",
        )
    return tuple(_reference(said, number) for number, said in enumerate(value))


def _reference(value: object, number: int) -> float | None:
    if value is None:
        return None
    try:
        return float(check_number(value))
    except InvalidError as wrong:
        raise wrong.under("references", number) from None


MOST_PARAMETERS = 1000
LONGEST_NAME = 200  # MLflow keeps 250 characters of a name, Optuna 512
MOST_NAMED = 10
COUNTED = ("epochs", "patience")  # what reads their largest value needs a number or an int range


def fit(network: str, name: str, said: Range | Scalar) -> Range | Scalar:
    """`said` in the catalogue's own types, once all its values are legal for `network`."""
    if not name.isidentifier() or len(name) > LONGEST_NAME:
        raise InvalidError(
            "must be a name of letters, digits and _, not starting with a digit", name
        )
    known = catalogue(network).get(name)
    if known is None:
        if network in NETWORKS:
            raise InvalidError(unknown_parameter(name, catalogue(network), network), name)
        return said
    if isinstance(said, Choices):
        return _fit_choices(known, said)
    if isinstance(said, IntRange | FloatRange):
        return _fit_range(known, said)
    _refuse(known.refusal(said), name)
    return known.cast(said)


def settled_conditions(network: str, parameters: Mapping[str, object], said: Range) -> Range:
    """The range with the values of its `when` as their parameters have them."""
    when = {
        parent: tuple(settled(network, parameters, parent, value) for value in values)
        for parent, values in said.when.items()
    }
    return said if when == said.when else said.model_copy(update={"when": when})


def check_defaults(network: str, stored: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """A study's stored defaults, in the catalogue's own types; those of other networks have no say.
    A newer tuner may have stored one that this version cannot honour."""
    known = catalogue(network)
    others = {name for kind in NETWORKS.values() for name in kind.parameters}
    for name, value in stored.items():
        if name in known:
            _refuse(known[name].refusal(value), name)
        elif name not in others:
            raise InvalidError("is a parameter that this version does not know", name)
    return {name: known[name].cast(value) for name, value in stored.items() if name in known}


def unknown_parameter(name: str, valid: Iterable[str], where: str) -> str:
    ordered = sort_by_similarity(name, valid)
    others = ", ".join(ordered[:MOST_NAMED]) + (", …" if len(ordered) > MOST_NAMED else "")
    return f"is no parameter of {where}; did you mean {ordered[0]}? Known: {others}"


def _fit_choices(known: Parameter, said: Choices) -> Choices:
    if known.name in COUNTED:
        raise InvalidError("must be a number or a range of type: int", known.name)
    for choice in said.choices:
        _refuse(known.refusal(choice), known.name, "choices")
    choices = tuple(known.cast(choice) for choice in said.choices)
    try:
        check_distinct(choices)  # yes and true are one
    except InvalidError as wrong:
        raise wrong.under(known.name) from None
    return said.model_copy(update={"choices": choices})


def settled(network: str, parameters: Mapping[str, object], name: str, value: Scalar) -> Scalar:
    """What a value of the named parameter means: for a switch yes is true, elsewhere a text."""
    said, known = parameters.get(name), catalogue(network).get(name)
    if known is not None and known.kind == "bool":
        meant = as_switch(value)
    elif isinstance(said, Choices):
        meant = value if said.refusal(value) else said.canonical(value)
    else:
        meant = as_switch(value) if isinstance(said, bool) else value
    return meant if isinstance(meant, bool) else value


def _fit_range(known: Parameter, said: IntRange | FloatRange) -> Range:
    if known.kind != said.type:
        kind = known.kind if known.kind in ("int", "float") else "categorical"
        raise InvalidError(f"must be {kind} for {known.name}, got {said.type}", known.name, "type")
    _refuse(known.refusal(said.low), known.name, "low")
    _refuse(known.refusal(said.top), known.name, "high")
    return said


def _refuse(reason: str | None, *keys: str) -> None:
    if reason:
        raise InvalidError(reason, *keys)


def check_conditions(node: Node, nodes: Mapping[str, Node]) -> None:
    """`when` and the catalogue's condition: known parents, values that they can take."""
    for parent, values in node.when.items():
        _check_parent(node, parent, nodes)
        for value in values:
            if not nodes[parent].takes(value):
                text = f"is never {format_value(value)}; it takes {nodes[parent].describe()}"
                raise InvalidError(text, node.name, "when", parent)
        if not values:
            raise InvalidError("must name a value", node.name, "when", parent)
    if node.range or node.constant:
        _check_needs(node, nodes)


def _check_parent(node: Node, parent: str, nodes: Mapping[str, Node]) -> None:
    keys = (node.name, "when", parent)
    if parent not in nodes:
        raise InvalidError(unknown_parameter(parent, nodes, "this space"), *keys)
    if nodes[parent].repeat:
        raise InvalidError("has one value a layer, so nothing can depend on it", *keys)
    if isinstance(nodes[parent].range, FloatRange):
        raise InvalidError("is a float range; depend on an int, a categorical or a constant", *keys)


def _check_needs(node: Node, nodes: Mapping[str, Node]) -> None:
    parent = unreachable(node, nodes)
    if parent:
        words = in_words({parent: node.needs[parent]})
        raise InvalidError(f"only matters when {words}, which this space rules out", node.name)


def unreachable(node: Node, nodes: Mapping[str, Node]) -> str | None:
    """The parent, if any, that can never have what the catalogue says this parameter needs."""
    for parent, values in node.needs.items():
        asked = node.when.get(parent, values)
        if not any(value in asked and nodes[parent].takes(value) for value in values):
            return parent
    return None


def check_repeat(node: Node, nodes: Mapping[str, Node], network: str) -> None:
    """`repeat` names an int parameter that says how many layers there are."""
    if node.repeat is None:
        return
    if node.repeat not in nodes:
        text = unknown_parameter(node.repeat, nodes, "this space")
        raise InvalidError(f"names {format_value(node.repeat)}, which {text}", node.name, "repeat")
    _check_layers(node, nodes[node.repeat])
    known = catalogue(network).get(node.name)
    if known and not known.layers:
        raise InvalidError(
            f"does not fit: there is one {node.name} for all layers", node.name, "repeat"
        )
    if known and node.repeat != known.layers:
        raise InvalidError(
            f"must be {known.layers}, got {format_value(node.repeat)}", node.name, "repeat"
        )


def _check_layers(node: Node, layers: Node) -> None:
    low = layers.range.low if isinstance(layers.range, IntRange) else layers.value
    counts = isinstance(layers.range, IntRange) or layers.range is None
    if not counts or isinstance(low, bool) or not isinstance(low, int) or layers.repeat:
        raise InvalidError(
            f"must name a single int parameter; {layers.name} is none", node.name, "repeat"
        )
    if low < 0:
        raise InvalidError(f"needs {layers.name} to be >= 0, got {low}", node.name, "repeat")


def check_count(nodes: Iterable[Node]) -> None:
    """At most 1000 parameters, layers counted one by one, and no two of one flat name."""
    owner: dict[str, str] = {}
    total = 0
    for node in nodes:
        total += node.most
        if total > MOST_PARAMETERS:
            raise InvalidError(f"brings the space above {MOST_PARAMETERS} parameters", node.name)
        for name in node.flat_names():
            if name in owner:
                raise InvalidError(
                    f"and a layer of {owner[name]} are both called {name}", node.name
                )
            owner[name] = node.name


def in_order(nodes: Mapping[str, Node]) -> list[Node]:
    """Every parameter after those it depends on."""
    sorter = TopologicalSorter({name: node.parents for name, node in nodes.items()})
    try:
        return [nodes[name] for name in sorter.static_order()]
    except CycleError as error:
        circle = error.args[1][::-1]  # graphlib names each before the one that depends on it
        arrows = " → ".join(circle[:8]) + (" → …" if len(circle) > 8 else "")
        raise InvalidError(f"depends on itself: {arrows}", circle[0]) from error
