"""Several inputs: a dict of arrays or tables for x, or the columns of a table in groups.

Each input is prepared like the only one of other data: `raw_inputs` gives each as data of its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tuner.data.raw import Pair, Raw
from tuner.errors import DatasetError
from tuner.preparation.kinds import part_name_problem
from tuner.values import describe_lacking, differing_lengths, join_names, suggest_names

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import DataSpec

# The name of a single input, which has none.
SINGLE = ""


def group_columns(raw: Raw, spec: "DataSpec") -> Raw:
    """The data with the columns of their table in the spec's groups. Raises DatasetError for a
    column that is not there, or is the target."""
    if not spec.inputs:
        return raw
    train = raw.parts["train"].x
    if not (hasattr(train, "iloc") and train.ndim == 2):
        raise DatasetError(
            f"{raw.source}: holds no table; inputs group the columns of a table, arrays have names "
            "of their own: x_NAME in an .npz, or a dict for x"
        )
    names = [str(name) for name in train.columns]
    targets = _target_names(raw.parts["train"].y)
    for group, columns in spec.inputs.items():
        for column in columns:
            if column in targets:
                raise DatasetError(
                    f"{raw.source}: input {group}: column {column!r} is a target; leave it out"
                )
            if column not in names:
                meant = suggest_names(column, names)
                raise DatasetError(
                    f"{raw.source}: input {group}: no column {column!r}{meant}; it has "
                    f"{join_names(names)}"
                )
    used = {column for columns in spec.inputs.values() for column in columns}
    unused = [name for name in names if name not in used and spec.columns.get(name) != "drop"]
    notes = [f"in no input, left out: {join_names(unused)}"] if unused else []
    parts = {
        part: pair._replace(x=_grouped(pair.x, spec, part)) for part, pair in raw.parts.items()
    }
    return replace(raw, parts=parts, notes=(*raw.notes, *notes))


def _target_names(y: Any) -> list[str]:
    if hasattr(y, "columns"):
        return [str(name) for name in y.columns]
    return [str(name) for name in y] if isinstance(y, Mapping) else [str(getattr(y, "name", ""))]


def _grouped(frame: Any, spec: "DataSpec", part: str) -> dict[str, Any]:
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    wanted = [column for columns in spec.inputs.values() for column in columns]
    if lacking := [name for name in wanted if name not in frame.columns]:
        raise DatasetError(f"{part} {describe_lacking(lacking)}")
    return {group: frame[list(columns)] for group, columns in spec.inputs.items()}


def raw_inputs(raw: Raw) -> dict[str, Raw]:
    """Each input as data of its own, with the targets of all; the data themselves, named SINGLE,
    where they have one input. Raises DatasetError for names that differ between the parts, and for
    inputs of different lengths."""
    named = {part: pair.x for part, pair in raw.parts.items() if isinstance(pair.x, Mapping)}
    if not named:
        return {SINGLE: raw}
    if other := [part for part in raw.parts if part not in named]:
        raise DatasetError(
            f"{raw.source}: x has named inputs in {', '.join(named)}, and none in {other[0]}"
        )
    names = [str(name) for name in named["train"]]
    if not names:
        raise DatasetError(f"{raw.source}: x is an empty dict; give an array for each input")
    for name in names:
        if problem := part_name_problem(name):
            raise DatasetError(f"{raw.source}: an input cannot be named {name!r}: {problem}")
    parts = {part: _by_name(x, names, part, raw.source) for part, x in named.items()}
    return {
        name: Raw(
            f"{raw.source}: input {name}",
            raw.name,
            {part: Pair(parts[part][name], pair.y) for part, pair in raw.parts.items()},
        )
        for name in names
    }


def _by_name(x: Mapping[Any, Any], names: list[str], part: str, source: str) -> dict[str, Any]:
    inputs = {str(name): value for name, value in x.items()}
    if set(inputs) != set(names):
        raise DatasetError(
            f"{source}: the inputs of {part} are {join_names(inputs)}, those of train "
            f"{join_names(names)}"
        )
    lengths = {name: _length(value) for name, value in inputs.items()}
    if counts := differing_lengths(lengths):
        raise DatasetError(f"{source}: the inputs of {part} differ in length: {counts}")
    return inputs


def _length(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 1
