"""A weight for each class, as one text: `{no: 1, yes: 10}`.

Space files and Python give a mapping. A parameter has single values, which Optuna, SQL and MLflow
keep, so the mapping becomes a text that a file and `--set` take back.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

EXAMPLE = "{no: 1, yes: 10}"

_QUOTED = r'"(?:[^"\\]|\\.)*"' r"|'(?:[^']|'')*'"
_ITEM = re.compile(rf"\s*({_QUOTED}|[^\s,:{{}}\"'][^,:{{}}]*?)\s*:\s*([^\s,:{{}}]+)\s*(,|\Z)")
_NEEDS_QUOTES = re.compile(r"""[,:{}"'\\]|\A\s|\s\Z|\A\Z""")


def format_weights(weights: Mapping[Any, object]) -> str:
    """The text of a mapping from class labels to weights, with the labels in order. Raises
    ValueError, worded to follow the parameter's name, for weights that cannot be."""
    checked = {str(label): _check(str(label), weight) for label, weight in weights.items()}
    if not checked:
        raise _not_a_mapping("{}")
    items = [f"{_quote(label)}: {_format_number(checked[label])}" for label in sorted(checked)]
    return f"{{{', '.join(items)}}}"


def is_mapping(value: object) -> bool:
    """Whether a value is meant as a mapping, or as the text of one."""
    return isinstance(value, Mapping) or (isinstance(value, str) and value.strip().startswith("{"))


def parse_weights(text: str) -> dict[str, float]:
    """The weight of each class label that the text names. Raises ValueError, worded to follow the
    parameter's name, for text that is no such mapping, and for weights that cannot be."""
    inner = text.strip().removeprefix("{").removesuffix("}")
    weights: dict[str, float] = {}
    position = 0
    while match := _ITEM.match(inner, position):
        label, number = _unquote(match[1]), match[2]
        if label in weights:
            raise ValueError(f"names class {label!r} twice")
        weights[label] = _check(label, _number_or_text(number))
        position = match.end()
        if not match[3]:
            break
    if position < len(inner.rstrip()) or not weights or not text.strip().endswith("}"):
        raise _not_a_mapping(text)
    return weights


def canonical_weights(value: Mapping[Any, object] | str) -> str:
    """The one text of a mapping, or of another text that means the same. Raises ValueError."""
    return format_weights(parse_weights(value) if isinstance(value, str) else value)


def _not_a_mapping(text: str) -> ValueError:
    hint = "; quote a label that holds a comma, a colon or a brace" if text.count(":") > 1 else ""
    return ValueError(
        f"must name a weight for each class, such as {EXAMPLE}; got {text[:60]!r}{hint}"
    )


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _check(label: str, weight: object) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ValueError(f"must have a number as weight of class {label!r}, got {weight!r}")
    if not 0 <= weight < math.inf:
        raise ValueError(f"must have finite weights >= 0, got {weight:g} for class {label!r}")
    return float(weight)


def _format_number(weight: float) -> str:
    return str(int(weight)) if weight.is_integer() and weight < 1e15 else repr(weight)


def _quote(label: str) -> str:
    plain = label.isprintable() and not _NEEDS_QUOTES.search(label)
    return label if plain else json.dumps(label, ensure_ascii=False)


def _unquote(text: str) -> str:
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    return str(json.loads(text, strict=False)) if text[0] == '"' else text
