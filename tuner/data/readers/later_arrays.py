"""Later rows of arrays: .npz archives, IDX files, data sets known by name, a user's function."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tuner.data.later_tables import ChosenColumns, choose_columns, table_block
from tuner.data.later_target import encode_later_target, encode_later_targets
from tuner.data.raw import Pair, dataset_errors
from tuner.data.readers.bundled import read_named
from tuner.data.readers.idx import find_idx_files, read_idx
from tuner.data.readers.npz import (
    KEYS,
    LENGTHS,
    WHOLE,
    gather_named,
    names_by_meaning,
    open_archive,
    read_member,
    with_lengths,
)
from tuner.data.readers.reader import Source
from tuner.data.readers.user_function import read_user_code
from tuner.data.row_blocks import LaterRows, RowBlock, RowRequest, TargetValues
from tuner.errors import DatasetError
from tuner.preparation.array_rows import fit_shape
from tuner.preparation.padding import as_objects, as_sequences
from tuner.preparation.predictions import count_rows, take_rows
from tuner.settings import Settings
from tuner.values import describe_lacking, differing_lengths, join_names, suggest_names

_TARGET = "y"


class _Part(NamedTuple):
    """Features (n, …), an array or a DataFrame, and a target each, None if there is none."""

    x: Any
    y: Any = None


def open_npz(source: Source, request: RowRequest) -> LaterRows:
    """x with or without y, or x_train, x_val and x_test, one after the other. Raises DatasetError
    for a broken archive, and one without such arrays."""
    path = source.path
    assert path is not None
    with dataset_errors(str(path)), open_archive(path) as archive:
        gathered = gather_named({name: name for name in archive.files})
        by_meaning = names_by_meaning(str(path), gathered)
        names = {key: gathered[name] for key, name in by_meaning.items()}
        if not set(names) & {WHOLE[0], *(x for x, _ in KEYS.values())} and len(archive.files) == 1:
            names = {WHOLE[0]: archive.files[0]}
        pairs = {"": WHOLE} if WHOLE[0] in names else KEYS
        chosen = _choose_parts({p: pair for p, pair in pairs.items() if pair[0] in names}, source)
        if not chosen:
            held = join_names(archive.files) or "none"
            raise DatasetError(f"{path}: needs an array x, or x_test; it holds {held}")
        parts = {
            part: _Part(
                *(
                    _read_members(path, archive, names[key], request.settings, key)
                    for key in pair
                    if key in names
                )
            )
            for part, pair in chosen.items()
        }
        lengths = {name: archive[name] for name in archive.files if name in LENGTHS}
        parts = {
            part: held._replace(x=with_lengths(held.x, chosen[part][0], lengths, str(path)))
            for part, held in parts.items()
        }
    return _array_rows(parts, request, source)


def _read_members(path: Any, archive: Any, name: Any, settings: Settings, key: str) -> Any:
    """An array, or those of several inputs or targets by their names."""
    if isinstance(name, dict):
        return {own: read_member(path, archive, n, settings, key) for own, n in name.items()}
    return read_member(path, archive, name, settings, key)


def open_idx_folder(source: Source, request: RowRequest) -> LaterRows:
    """The images of each part, one after the other, with their labels if they are there."""
    folder = source.path
    assert folder is not None
    with dataset_errors(str(folder)):
        files = find_idx_files(folder)
    with_images = {part: files for part, role in files if role == "images"}
    if not with_images:
        raise DatasetError(
            f"{folder}: holds no IDX files of images, such as t10k-images-idx3-ubyte"
        )
    parts = {
        part: _Part(
            *(
                read_idx(files[part, role], request.settings)
                for role in ("images", "labels")
                if (part, role) in files
            )
        )
        for part in _choose_parts(with_images, source)
    }
    return _array_rows(parts, request, source)


def open_idx_file(source: Source, request: RowRequest) -> LaterRows:
    """The images of one file; their labels if a file of that name lies beside it."""
    path = source.path
    assert path is not None
    x = read_idx(path, request.settings)
    with dataset_errors(str(path)):
        files = find_idx_files(path.parent)
    part = next((part for (part, role), file in files.items() if file == path), "")
    labels = files.get((part, "labels"))
    if labels is None or labels == path:
        return _array_rows({"": _Part(x)}, request, source)
    return _array_rows({"": _Part(x, read_idx(labels, request.settings))}, request, source)


def open_named(source: Source, request: RowRequest) -> LaterRows:
    """All rows of a known data set: those of training, then those of its own test part."""
    raw = read_named(source.name, request.settings)
    parts = {part: _named_part(pair, raw.label_names) for part, pair in raw.parts.items()}
    return _array_rows(_choose_parts(parts, source), request, source, raw.features)


def _named_part(pair: Pair, names: Sequence[str] | None) -> _Part:
    is_class = names is not None and np.asarray(pair.y).dtype.kind in "iu"
    return _Part(pair.x, np.asarray(names)[np.asarray(pair.y)] if is_class else pair.y)


def open_function(source: Source, request: RowRequest) -> LaterRows:
    """What a user's own function returns, as for a search."""
    assert source.path is not None
    parts, notes = read_user_code(source.path, source.selector)
    pairs = {part: _Part(pair.x, pair.y) for part, pair in parts.items()}
    return _array_rows(pairs, request, source, notes=notes)


def _choose_parts(parts: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Those that the word after the colon names; all of them if none follows."""
    part = source.selector
    if not part or source.selects:
        return dict(parts)
    chosen = [each for each in parts if each and each.startswith(part)]
    if len(part) < 3 or len(chosen) != 1:
        part_names = join_names(each for each in parts if each) or "none"
        raise DatasetError(
            f"{source.text}: no part {part!r}{suggest_names(part, list(parts))}; its parts are "
            f"{part_names}"
        )
    return {chosen[0]: parts[chosen[0]]}


def _array_rows(
    parts: Mapping[str, _Part],
    request: RowRequest,
    source: Source,
    features: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> LaterRows:
    """Rows of parts, one after the other."""
    name = source.text
    first = next(iter(parts.values()))
    chosen = None
    if request.preparation.inputs and not request.preparation.is_table:
        parts = {part: _named_inputs(held, request, name) for part, held in parts.items()}
    elif isinstance(first.x, Mapping):
        raise DatasetError(
            f"{name}: holds the inputs {join_names(first.x)}, the network takes one input"
        )
    elif hasattr(first.x, "iloc"):
        names = [str(column) for column in first.x.columns]
        chosen = choose_columns(names, request, name)
        notes = (*notes, *chosen.notes)
    elif request.preparation.is_table:
        columns = join_names(request.preparation.names)
        raise DatasetError(f"{name}: holds arrays, the network takes a table with {columns}")
    else:
        shape = request.preparation.input_shape
        parts = {part: _as_rows(held, shape, name) for part, held in parts.items()}
    if len(parts) > 1:
        notes = (*notes, f"rows of {', then '.join(parts)}")
    for part in parts.values():
        if part.y is not None and count_rows(part.y) != count_rows(part.x):
            lengths = f"{count_rows(part.x)} and {count_rows(part.y)}"
            raise DatasetError(f"{name}: x and y differ in length, {lengths}")
    target = None if first.y is None else str(getattr(first.y, "name", None) or _TARGET)
    count = sum(count_rows(part.x) for part in parts.values())
    return LaterRows(
        name, lambda: _blocks(parts, chosen, request, name), tuple(notes), count, target
    )


def _named_inputs(part: _Part, request: RowRequest, source: str) -> _Part:
    """The arrays of the inputs that the network takes. Raises DatasetError for others, and for
    inputs of different lengths."""
    wanted = request.preparation.inputs
    held = part.x if isinstance(part.x, Mapping) else {}
    arrays = {str(name): rows for name, rows in held.items()}
    if lacking := [name for name in wanted if name not in arrays]:
        raise DatasetError(
            f"{source}: {describe_lacking(lacking, 'input')}; the network takes "
            f"{join_names(wanted)}"
        )
    lengths = {name: len(arrays[name]) for name in wanted}
    if counts := differing_lengths(lengths):
        raise DatasetError(f"{source}: the inputs differ in length: {counts}")
    return _Part({name: arrays[name] for name in wanted}, part.y)


def _as_rows(part: _Part, shape: tuple[int, ...], source: str) -> _Part:
    """One row, and its target, become rows. Raises DatasetError for a single value."""
    sequences = as_sequences(part.x)
    if sequences is not None:
        return _Part(as_objects(sequences), part.y)
    given = np.shape(part.x)
    if not given:
        fit_shape(np.asarray(part.x), shape, (), source)
    x = np.asarray(part.x)[np.newaxis] if given == shape and len(shape) > 1 else part.x
    y = part.y if part.y is None or np.shape(part.y) else np.atleast_1d(part.y)
    return _Part(x, y)


def _blocks(
    parts: Mapping[str, _Part], chosen: ChosenColumns | None, request: RowRequest, source: str
) -> Iterator[RowBlock]:
    before = 0
    for part in parts.values():
        at_once = request.rows_at_once
        for start in range(0, count_rows(part.x), at_once):
            rows, target = take_rows(part.x, start, start + at_once), None
            if part.y is not None:
                values = take_rows(part.y, start, start + at_once)
                target = partial(_encode, values, before + start, request, source)
            yield _block(rows, chosen, target, before + start, request, source)
        before += count_rows(part.x)


def _block(
    rows: Any,
    chosen: ChosenColumns | None,
    target: Any,
    first_row: int,
    request: RowRequest,
    source: str,
) -> RowBlock:
    import pandas as pd

    if isinstance(rows, Mapping):
        return RowBlock(rows, None, target, first_row)
    if chosen is None:
        is_column = rows.ndim == 1 and request.preparation.input_shape == (1,)
        return RowBlock(rows[:, np.newaxis] if is_column else rows, None, target, first_row)
    frame = rows.set_axis([str(name) for name in rows.columns], axis=1)
    frame = frame.set_axis(pd.RangeIndex(first_row, first_row + len(frame)))
    block = table_block(frame, chosen, request, source)
    return RowBlock(block.rows, block.index, target, first_row)


def _encode(values: Any, first_row: int, request: RowRequest, source: str) -> TargetValues:
    import pandas as pd

    if request.target_columns:
        return encode_later_targets(values, request, source)
    index = pd.RangeIndex(first_row, first_row + len(values))
    if hasattr(values, "iloc"):
        return encode_later_target(values.set_axis(index), request, source)
    array = np.asarray(values)
    column = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if column.ndim != 1:
        raise DatasetError(f"{source}: y must hold one value a row, its shape is {array.shape}")
    return encode_later_target(pd.Series(column, index), request, source)
