"""What must hold between the parameters of a space, and between it and the catalogue.

Every check raises `InvalidError`, with keys that begin at the parameter's name. Mistakes, from
here or from pydantic, are worded as one line each.
"""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tuner.search_space.class_weights import canonical_weights, is_mapping
from tuner.search_space.nodes import Node, format_conditions
from tuner.search_space.parameter_types import Parameter, Role, format_value, sort_by_similarity
from tuner.search_space.parameters import NETWORKS, OWN_MODEL, TRAINING, catalogue
from tuner.search_space.ranges import (
    RANGES,
    Choices,
    FloatRange,
    IntRange,
    InvalidError,
    Range,
    check_distinct,
)
from tuner.values import Scalar, as_switch

FILE_KEYS = ("network", "parameters", "baselines", "data", "columns", "references")
MOST_PARAMETERS = 1000
LONGEST_NAME = 200  # MLflow keeps 250 characters of a name, Optuna 512
MOST_NAMED = 10

# Pydantic's kinds of mistakes, in our words.
_TEXTS = {
    "missing": "is missing",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of names to values",
    "tuple_type": "must be a list",
    "string_type": "must be a string",
}


def explain_validation_error(error: ValidationError) -> InvalidError:
    """The first of pydantic's mistakes, counting the others."""
    # Unknown keys first: a key that is missing is often one of them, misspelled.
    details = sorted(
        error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden"
    )
    first = _as_invalid_error(details[0])
    first.more += len(details) - 1
    return first


def format_mistake(wrong: InvalidError) -> str:
    """ "parameters.learning_rate.low must be > 0, got 0 (and 2 more)" """
    more = f" (and {wrong.more} more)" if wrong.more else ""
    return f"{format_keys(wrong.keys)} {wrong.text}{more}".strip()


def format_keys(keys: tuple[str | int, ...]) -> str:
    """("baselines", 0, "width") as "baselines[0].width"."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            is_plain = key.isidentifier() and len(key) <= 60
            text += ("." if text else "") + (key if is_plain else format_value(key))
    return text


def _as_invalid_error(details: ErrorDetails) -> InvalidError:
    keys = details["loc"]
    tag = ""
    if keys[0:1] == ("parameters",) and len(keys) > 2:
        tag = str(keys[2])  # which kind of range pydantic read it as; no key of the file
        keys = (*keys[:2], *keys[3:])
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, InvalidError):
        return cause.under(*keys)
    return InvalidError(_describe(details, tag), *keys)


def _describe(details: ErrorDetails, tag: str) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        valid = RANGES[tag].model_fields if tag in RANGES else FILE_KEYS
        ordered = sort_by_similarity(str(details["loc"][-1]), valid)
        return f"is no known key; known: {', '.join(ordered)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        given = details["input"].get("type") if isinstance(details["input"], dict) else None
        ordered = sort_by_similarity(given, RANGES) if isinstance(given, str) else list(RANGES)
        got = "" if given is None else f", got {format_value(given)}"
        return f"needs a type, one of {', '.join(ordered)}{got}"
    return _TEXTS.get(kind) or details["msg"].replace("Input should", "should")


def mapping_as_text(name: str, value: object) -> object:
    """The text of a mapping of classes to weights, where the named parameter takes one, also
    inside of a range's choices; any other value as it is."""
    parameter = TRAINING.get(name)
    if parameter is None or not parameter.by_class:
        return value
    return _weights_as_text(value) if isinstance(value, str) else mappings_as_texts(value)


def mappings_as_texts(value: object) -> object:
    """A mapping, or those among the choices of a range, as texts; any other value as it is."""
    if isinstance(value, Mapping) and isinstance(value.get("type"), str):
        choices = value.get("choices")
        if not isinstance(choices, list | tuple):
            return value
        texts = [_weights_as_text(c, "choices") if isinstance(c, Mapping) else c for c in choices]
        return {**value, "choices": texts}
    return _weights_as_text(value) if isinstance(value, Mapping) else value


def _weights_as_text(value: object, *keys: str) -> object:
    if not isinstance(value, Mapping | str) or not is_mapping(value):
        return value
    try:
        return canonical_weights(value)
    except ValueError as wrong:
        raise InvalidError(str(wrong), *keys) from None


def fit_to_catalogue(network: str, name: str, declared: Range | Scalar) -> Range | Scalar:
    """What a space declares of a parameter, in the catalogue's own types, if all its values are
    legal for `network`."""
    # KerasTuner's names may be any text: "encoder/units".
    is_name = name.isidentifier() or (network == OWN_MODEL and name.isprintable())
    if not is_name or len(name) > LONGEST_NAME:
        raise InvalidError(
            "must be a name of letters, digits and _, not starting with a digit", name
        )
    parameter = catalogue(network).get(name)
    if parameter is None:
        if network in NETWORKS:
            raise InvalidError(unknown_parameter_text(name, catalogue(network), network), name)
        return declared
    if isinstance(declared, Choices):
        return _fit_choices(parameter, declared)
    if isinstance(declared, IntRange | FloatRange):
        return _fit_range(parameter, declared)
    _refuse(parameter.refusal(declared), name)
    return parameter.cast(declared)


def settle_conditions(network: str, parameters: Mapping[str, object], declared: Range) -> Range:
    """The range with the values of its `when` as their parameters have them."""
    when = {
        parent: tuple(settle_value(network, parameters, parent, value) for value in values)
        for parent, values in declared.when.items()
    }
    return declared if when == declared.when else declared.model_copy(update={"when": when})


def check_defaults(network: str, stored: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """A study's stored defaults for `network`, in the catalogue's own types. Those of other
    networks are left out. Refuses one that this version does not know: a newer tuner has stored
    it."""
    parameters = catalogue(network)
    elsewhere = {name for kind in NETWORKS.values() for name in kind.parameters}
    for name, value in stored.items():
        if name in parameters:
            _refuse(parameters[name].refusal(value), name)
        elif name not in elsewhere:
            raise InvalidError("is a parameter that this version does not know", name)
    return {
        name: parameters[name].cast(value) for name, value in stored.items() if name in parameters
    }


def unknown_parameter_text(name: str, valid: Iterable[str], where: str) -> str:
    ordered = sort_by_similarity(name, valid)
    others = ", ".join(ordered[:MOST_NAMED]) + (", …" if len(ordered) > MOST_NAMED else "")
    return f"is no parameter of {where}; did you mean {ordered[0]}? Known: {others}"


def _fit_choices(parameter: Parameter, declared: Choices) -> Choices:
    if parameter.role is Role.LOOP:  # its largest value is needed
        raise InvalidError("must be a number or a range of type: int", parameter.name)
    for choice in declared.choices:
        _refuse(parameter.refusal(choice), parameter.name, "choices")
    choices = tuple(parameter.cast(choice) for choice in declared.choices)
    try:
        check_distinct(choices)  # yes and true are one
    except InvalidError as wrong:
        raise wrong.under(parameter.name) from None
    return declared.model_copy(update={"choices": choices})


def settle_value(
    network: str, parameters: Mapping[str, object], name: str, value: Scalar
) -> Scalar:
    """What a value of the named parameter means: for a switch yes is true, elsewhere a text."""
    declared, parameter = parameters.get(name), catalogue(network).get(name)
    if parameter is not None and parameter.by_class and not parameter.refusal(value):
        return parameter.cast(value)
    if parameter is not None and parameter.kind == "bool":
        meant = as_switch(value)
    elif isinstance(declared, Choices):
        meant = value if declared.refusal(value) else declared.canonical(value)
    else:
        meant = as_switch(value) if isinstance(declared, bool) else value
    return meant if isinstance(meant, bool) else value


def _fit_range(parameter: Parameter, declared: IntRange | FloatRange) -> Range:
    name = parameter.name
    if parameter.kind != declared.type:
        kind = parameter.kind if parameter.kind in ("int", "float") else "categorical"
        raise InvalidError(f"must be {kind} for {name}, got {declared.type}", name, "type")
    _refuse(parameter.refusal(declared.low), name, "low")
    _refuse(parameter.refusal(declared.top), name, "high")
    return declared


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
        raise InvalidError(unknown_parameter_text(parent, nodes, "this space"), *keys)
    if nodes[parent].repeat:
        raise InvalidError("has one value a layer, so nothing can depend on it", *keys)
    if isinstance(nodes[parent].range, FloatRange):
        raise InvalidError("is a float range; depend on an int, a categorical or a constant", *keys)


def _check_needs(node: Node, nodes: Mapping[str, Node]) -> None:
    parent = unreachable_parent(node, nodes)
    if parent:
        words = format_conditions({parent: node.needs[parent]})
        raise InvalidError(f"only matters when {words}, which this space rules out", node.name)


def unreachable_parent(node: Node, nodes: Mapping[str, Node]) -> str | None:
    """The parent, if any, that can never have what the catalogue says this parameter needs."""
    for parent, values in node.needs.items():
        wanted = node.when.get(parent, values)
        if not any(value in wanted and nodes[parent].takes(value) for value in values):
            return parent
    return None


def check_repeat(node: Node, nodes: Mapping[str, Node], network: str) -> None:
    """`repeat` names an int parameter that says how many layers there are."""
    if node.repeat is None:
        return
    if node.repeat not in nodes:
        text = unknown_parameter_text(node.repeat, nodes, "this space")
        raise InvalidError(f"names {format_value(node.repeat)}, which {text}", node.name, "repeat")
    _check_layers(node, nodes[node.repeat])
    parameter = catalogue(network).get(node.name)
    if parameter and not parameter.layers:
        raise InvalidError(
            f"does not fit: there is one {node.name} for all layers", node.name, "repeat"
        )
    if parameter and node.repeat != parameter.layers:
        raise InvalidError(
            f"must be {parameter.layers}, got {format_value(node.repeat)}", node.name, "repeat"
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


def sort_by_dependency(nodes: Mapping[str, Node]) -> list[Node]:
    """Every parameter after those it depends on."""
    sorter = TopologicalSorter({name: node.parents for name, node in nodes.items()})
    try:
        return [nodes[name] for name in sorter.static_order()]
    except CycleError as error:
        circle = error.args[1][::-1]  # graphlib names each before the one that depends on it
        arrows = " → ".join(circle[:8]) + (" → …" if len(circle) > 8 else "")
        raise InvalidError(f"depends on itself: {arrows}", circle[0]) from error
