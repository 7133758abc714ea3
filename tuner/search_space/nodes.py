"""A parameter of a space with everything that decides when it is there and what it may be: the
file's words, the catalogue's condition and the default beside them.

Conditions are read from the resolved parameters. While its `when` fails, a parameter has its
default, and further conditions see that default. It is absent where it has no default, and where
the catalogue's own condition fails: no momentum without sgd.

Mistakes in a search space, from wherever they were found, as one line each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tuner.search_space.parameter_types import equal_values, format_value, sort_by_similarity
from tuner.search_space.parameters import catalogue, settled_defaults
from tuner.search_space.ranges import (
    LONGEST_WORD,
    RANGES,
    Choices,
    FloatRange,
    IntRange,
    InvalidError,
    Range,
)
from tuner.values import Scalar, as_switch, word

FILE_KEYS = ("network", "parameters", "baselines", "data", "columns", "references")


def explained(error: ValidationError) -> InvalidError:
    """The first of pydantic's mistakes, counting the others."""
    details = error.errors(include_url=False)
    first = _wrong(details[0])
    first.more += len(details) - 1
    return first


def in_one_line(wrong: InvalidError) -> str:
    """ "parameters.learning_rate.low must be > 0, got 0 (and 2 more)" """
    place = placed(wrong.keys)
    more = f" (and {wrong.more} more)" if wrong.more else ""
    return f"{place} {wrong.text}{more}".strip()


def placed(keys: tuple[str | int, ...]) -> str:
    """("baselines", 0, "width") as "baselines[0].width"."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += ("." if text else "") + (
                key if key.isidentifier() and len(key) <= 60 else format_value(key)
            )
    return text


def _wrong(details: ErrorDetails) -> InvalidError:
    keys = details["loc"]
    tag = ""
    if keys[0:1] == ("parameters",) and len(keys) > 2:
        tag = str(keys[2])  # which kind of range pydantic read it as; no key of the file
        keys = (*keys[:2], *keys[3:])
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, InvalidError):
        return cause.under(*keys)
    return InvalidError(_text(details, tag), *keys)


def _text(details: ErrorDetails, tag: str) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        valid = RANGES[tag].model_fields if tag in RANGES else FILE_KEYS
        keys = sort_by_similarity(str(details["loc"][-1]), valid)
        return f"is no known key; known: {', '.join(keys)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        given = details["input"].get("type") if isinstance(details["input"], dict) else None
        ordered = sort_by_similarity(given, RANGES) if isinstance(given, str) else list(RANGES)
        got = "" if given is None else f", got {format_value(given)}"
        return f"needs a type, one of {', '.join(ordered)}{got}"
    return TEXTS.get(kind) or details["msg"].replace("Input should", "should")


TEXTS = {
    "missing": "is missing",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of names to values",
    "tuple_type": "must be a list",
    "string_type": "must be a string",
}


Requirement = Mapping[str, tuple[Scalar, ...]]
Status = Literal["searched", "fixed", "absent"]


@dataclass(frozen=True)
class Node:
    """`range`: None for what is not searched. `value`: the constant, or the default,
    or None where there is neither. `needs`: the catalogue's condition. `most`: the most layers
    of a repeated parameter. `constant`: the space says so itself, as opposed to a default."""

    name: str
    range: Range | None
    value: Scalar | None
    needs: Requirement
    most: int = 1
    constant: bool = False

    @property
    def when(self) -> Requirement:
        return self.range.when if self.range else {}

    @property
    def repeat(self) -> str | None:
        return self.range.repeat if self.range else None

    @property
    def parents(self) -> list[str]:
        """The parameters that this one's presence or length depends on."""
        return [*self.when, *self.needs, *([self.repeat] if self.repeat else [])]

    def status(self, params: Mapping[str, object]) -> Status:
        """What this parameter is, given the resolved parameters before it."""
        if not hold(self.needs, params):
            return "absent"
        if self.range and hold(self.when, params) and (not self.repeat or self.repeat in params):
            return "searched"
        return "absent" if self.value is None else "fixed"

    def flat_names(self, layers: int | None = None) -> list[str]:
        """Optuna's names: `width`, or `width_1`, `width_2`, … of a repeated one."""
        if not self.repeat:
            return [self.name]
        count = self.most if layers is None else layers
        return [f"{self.name}_{layer}" for layer in range(1, count + 1)]

    def is_value(self, value: object) -> bool:
        """Whether that is the constant or default; a switch takes its own words."""
        return equal_values(as_switch(value) if isinstance(self.value, bool) else value, self.value)

    def takes(self, value: object) -> bool:
        """Whether the parameter can ever have `value`."""
        if self.range is None:
            return self.is_value(value)
        return self.range.refusal(value) is None or (bool(self.when) and self.is_value(value))

    def describe(self) -> str:
        return self.range.describe() if self.range else f"always {format_value(self.value)}"


def hold(requirement: Requirement, params: Mapping[str, object]) -> bool:
    """Whether every parent is there with one of the values asked for."""
    return all(
        parent in params and any(equal_values(params[parent], value) for value in values)
        for parent, values in requirement.items()
    )


def in_words(requirement: Requirement) -> str:
    """ "optimizer is sgd and depth is 2 or 3" """
    return " and ".join(
        f"{parent} is {' or '.join(bare(value) for value in values)}"
        for parent, values in requirement.items()
    )


def bare(value: Scalar) -> str:
    """A value as a sentence has it: plain words without quotes."""
    text = word(value)
    return text if len(text) <= LONGEST_WORD else format_value(value)


def make_nodes(
    network: str,
    parameters: Mapping[str, Range | Scalar],
    defaults: Mapping[str, Scalar] | None,
) -> dict[str, Node]:
    """A node for each declared parameter, then for each other one of the catalogue; unchecked.
    `defaults`: those that a study has stored; None: the catalogue's present ones."""
    settled = settled_defaults(network, defaults)
    needs = {name: known.when for name, known in catalogue(network).items()}
    nodes = {
        name: _node(name, said, settled.get(name), needs.get(name, {}))
        for name, said in parameters.items()
    }
    for name, default in settled.items():
        nodes.setdefault(name, Node(name, None, default, needs[name]))
    return {name: _with_layers(node, nodes) for name, node in nodes.items()}


def _node(name: str, said: Range | Scalar, default: Scalar | None, needs: Requirement) -> Node:
    if isinstance(said, IntRange | FloatRange | Choices):
        return Node(name, said, default, needs)
    return Node(name, None, said, needs, constant=True)


def _with_layers(node: Node, nodes: Mapping[str, Node]) -> Node:
    if not node.repeat or node.repeat not in nodes:
        return node
    most = largest(nodes[node.repeat]) or 0
    return Node(node.name, node.range, node.value, node.needs, max(0, int(most)))


def largest(node: Node) -> float | None:
    """The largest number that the parameter can be; None when it is no number."""
    candidates: list[float] = []
    if isinstance(node.range, IntRange | FloatRange):
        candidates.append(node.range.top)
    elif node.range:
        candidates += _numbers(node.range.choices)
    if node.range is None or node.when:
        candidates += _numbers([node.value])
    return max(candidates, default=None)


def _numbers(values: Iterable[Scalar | None]) -> list[float]:
    return [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
