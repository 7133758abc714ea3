"""What a search-space file says beside the space: its data, and results that are known."""

from typing import Any

from tuner.parameters import Scalar
from tuner.space.scalars import InvalidError, check_number, check_scalar

_SCALAR = {"type": ["boolean", "integer", "number", "string"]}

# By the file's key, its JSON Schema.
EXTRAS_SCHEMA: dict[str, dict[str, Any]] = {
    "data": {
        "title": "Data",
        "description": "The data that are meant: a source, or a mapping with one.",
        "anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": _SCALAR}],
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
    return {key: _setting(key, said) for key, said in value.items()}


def _setting(key: str, value: object) -> Scalar:
    try:
        return check_scalar(value)
    except InvalidError as wrong:
        raise wrong.under("data", key) from None


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
