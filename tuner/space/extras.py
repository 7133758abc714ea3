"""What a search-space file says beside the space: its data, their columns, and known results."""

from typing import Any

from tuner.parameters import Scalar, nearest, shown
from tuner.space.scalars import InvalidError, check_number, check_scalar

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
    return f"must be one of {', '.join(nearest(str(kind), COLUMN_KINDS))}; got {shown(kind)}"


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
