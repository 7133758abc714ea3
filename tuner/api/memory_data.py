"""Data from memory, written once beside the study, where workers and later sessions find them.

Arrays become an .npz, a table a .parquet. Tables with a test part of their own become a .parquet
each, and a data function that reads them.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tuner.api.functions import code_reference
from tuner.data import parse_source
from tuner.data.arrays import as_array, check_features, transposed_hint
from tuner.data.input_encoding import check_order
from tuner.data.raw import Pair
from tuner.data.readers.npz import (
    FEATURES,
    KEYS,
    WHOLE,
    array_name,
    gather_named,
    named_array,
    parts_from_mapping,
)
from tuner.data.rows import rows_per_block
from tuner.errors import DatasetError, first_line
from tuner.manage.kept_files import kept_folder, path_in_project, written_at_once
from tuner.preparation.padding import as_sequences, check_sequences, pad_sequences
from tuner.settings import Settings
from tuner.system.locations import HASH_LENGTH
from tuner.values import join_names, suggest_names

if TYPE_CHECKING:
    import pandas as pd

_FORMS = (
    "a source such as 'digits' or 'file.csv:target', (x, y), ((x_train, y_train), (x_test, "
    "y_test)), a mapping with the keys of an .npz, a DataFrame, or a function that returns such"
)
# Of an archive's members: equal arrays make equal files, whenever they are written.
_DATE = (1980, 1, 1, 0, 0, 0)
_NO_COLUMN = "only a table has columns: give the targets themselves, as data=(x, y)"
_LOADER = '''"""Tables from memory, with the parts that they came in. Written by tuner."""

from pathlib import Path

import pandas as pd

TARGETS = {targets}


def load():
    data = {{}}
    for part, target in TARGETS.items():
        table = pd.read_parquet(Path(__file__).with_name(f"{{part}}.parquet"))
        data[f"x_{{part}}"] = table.drop(columns=target)
        data[f"y_{{part}}"] = table[target]
    return data
'''


def data_source(data: Any, target: Any, settings: Settings) -> str:
    """The source, as `--data` takes it, of data given in Python.

    Args:
        data: a source (text or path); (x, y); ((x_train, y_train), (x_test, y_test)); a mapping
            with the keys of an .npz; a DataFrame; or a function without arguments that returns one
            of these.
        target: the name of the target column, a list of names, or the targets themselves.

    Arrays and tables are written to `.tuner/data/` beside the studies' database, under a name made
    of their contents, so the same data are written once. Raises a UsageError.
    """
    if isinstance(data, str | Path):
        return _with_target(str(data), target)
    if callable(data) and not hasattr(data, "__array__"):
        if target is not None:
            raise DatasetError("target: a data function returns the targets itself; leave it out")
        return code_reference(data, settings)
    if isinstance(target, Number | np.generic):
        target = str(target)  # as columns are named that are numbers
    if _names_columns(data, target):
        frame = _as_frame(data)
        for name in target:
            _with_named_target(frame, name)
        return _keep_table(frame, _selector(target), settings)
    if target is not None and not isinstance(target, str):
        _refuse_list_of_name(data, target)
        data, target = (data, target), None
    if _is_table(data):
        return _keep_table(*_with_named_target(_as_frame(data), target), settings)
    if target is not None:
        raise DatasetError(f"target={target!r}: {_NO_COLUMN}")
    parts = _parts(data)
    if any(_is_table(pair.x) for pair in parts.values()):
        return _keep_tables(parts, settings)
    return _keep_arrays(data if isinstance(data, Mapping) else _names(parts), settings)


def _names_columns(data: Any, target: Any) -> bool:
    """Whether a list names several columns of a table as its targets."""
    is_list = isinstance(target, list | tuple) and len(target) > 1
    if not is_list or not _is_table(data) or not all(isinstance(name, str) for name in target):
        return False
    return len(target) != len(data) or {str(name) for name in data.columns} >= set(target)


def _selector(names: Sequence[str]) -> str:
    """Several columns as they stand behind a file's colon."""
    return ",".join(f'"{name}"' if "," in name else name for name in names)


def _with_target(source: str, target: Any) -> str:
    if target is None:
        return source
    if not isinstance(target, str):
        raise DatasetError(f"target: the data are {source!r}; name the target column by a text")
    parsed = parse_source(source)
    if not parsed.selects or (parsed.selector and parsed.selector != target):
        named = f"names {parsed.selector!r}" if parsed.selector else "has no columns to name"
        raise DatasetError(f"target={target!r}: the source {source!r} {named}; leave one out")
    return source if parsed.selector else f"{source}:{target}"


def _refuse_list_of_name(data: Any, target: Any) -> None:
    if _is_table(data) and isinstance(target, list) and len(target) == 1 != len(data):
        raise DatasetError(f"target={target!r}: give the column's name alone, target={target[0]!r}")


def _is_table(data: Any) -> bool:
    """Whether this is a DataFrame, of pandas or one that can become such."""
    return getattr(data, "ndim", 2) == 2 and (hasattr(data, "iloc") or hasattr(data, "to_pandas"))


def _as_frame(table: Any) -> "pd.DataFrame":
    """A table of pandas with texts as names, which differ. Raises DatasetError."""
    frame: pd.DataFrame = table if hasattr(table, "iloc") else table.to_pandas()
    names = [str(name) for name in frame.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DatasetError(f"data: several columns are named {join_names(map(repr, twice))}")
    frame = frame.set_axis(names, axis=1)
    if special := {name: _dense(frame[name]) for name in names if _is_special(frame[name])}:
        frame = frame.assign(**special)
    # Where rows lay before they were shuffled or chosen says nothing of them.
    return frame.reset_index(drop=True) if list(frame.index.names) == [None] else frame


def _is_special(column: "pd.Series[Any]") -> bool:
    """Whether a column is sparse, or holds intervals, as `pandas.cut` makes them: Arrow has
    neither."""
    import pandas as pd

    kind = column.dtype
    kind = kind.categories.dtype if isinstance(kind, pd.CategoricalDtype) else kind
    return isinstance(kind, pd.SparseDtype | pd.IntervalDtype)


def _dense(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Such a column with a cell for each row, of numbers or of intervals as texts."""
    import pandas as pd

    if isinstance(column.dtype, pd.SparseDtype):
        return pd.Series(np.asarray(column), index=column.index)
    return column.astype("category").cat.rename_categories(str)


def _with_named_target(frame: "pd.DataFrame", target: str | None) -> tuple["pd.DataFrame", str]:
    names = list(frame.columns)
    if target is None:
        raise DatasetError(f"name the target column, as target={names[-1]!r}: {join_names(names)}")
    if target not in names:
        meant = suggest_names(target, names)
        raise DatasetError(f"target={target!r}: no such column{meant}; it has {join_names(names)}")
    return frame, target


def _parts(data: Any) -> dict[str, Pair]:
    """The parts of data that are no single table. Raises DatasetError."""
    if isinstance(data, Mapping):
        return parts_from_mapping("data", data)[0]
    if not isinstance(data, tuple | list) or len(data) != 2:
        size = f" of {len(data)}" if isinstance(data, tuple | list) else ""
        raise DatasetError(f"data must be {_FORMS}; got {type(data).__name__}{size}")
    # Only tuples are pairs: a list of two is an x of two rows.
    if all(isinstance(each, tuple) and len(each) == 2 for each in data):
        return {"train": Pair(*data[0]), "test": Pair(*data[1])}
    return {"train": Pair(*data)}


def _names(parts: Mapping[str, Pair]) -> dict[str, Any]:
    """The arrays of parts by the names that they have in an .npz."""
    if list(parts) == ["train"]:
        return {"x": parts["train"].x, "y": parts["train"].y}
    pairs = [(f"x_{part}", f"y_{part}", pair) for part, pair in parts.items()]
    return {x: pair.x for x, _, pair in pairs} | {y: pair.y for _, y, pair in pairs}


def _keep_arrays(values: Mapping[str, Any], settings: Settings) -> str:
    values = _with_lengths({str(name): value for name, value in _flattened(values).items()})
    arrays = {name: _checked_array(name, value) for name, value in values.items()}
    _check_lengths(arrays)
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        for block in _blocks(array):
            digest.update(block)
    file = _kept_file(settings, f"arrays-{digest.hexdigest()[:HASH_LENGTH]}.npz")
    if not file.exists():
        with written_at_once(file, sum(array.nbytes for array in arrays.values())) as stream:
            _write_archive(stream, arrays)
    return path_in_project(file, settings)


def _flattened(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays by the names that they have in an .npz: of several inputs or targets, x_NAME or
    x_train_NAME each. Raises DatasetError for a table among the inputs."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, Mapping):
            flat[name] = value
            continue
        for own, part in value.items():
            if _is_table(part):
                raise DatasetError(
                    f"data: {name}[{own!r}] is a DataFrame; give arrays, or one table whose "
                    "columns are grouped by inputs={…}"
                )
            flat[f"{name}_{own}"] = part
    return flat


def _with_lengths(values: dict[str, Any]) -> dict[str, Any]:
    """Sequences of different lengths as an array that ends in zeros, and their lengths beside it,
    as an .npz has them."""
    arrays = dict(values)
    for name, value in values.items():
        meant = array_name(name)
        sequences = as_sequences(value) if meant in FEATURES else None
        if meant is None or sequences is None:
            continue
        channels = check_sequences(sequences, f"data: {name}")
        lengths = np.array([len(sequence) for sequence in sequences])
        padded = pad_sequences(sequences, int(lengths.max()), channels)[..., :-1]
        is_flat = sequences[int(lengths.argmax())].ndim == 1
        arrays[name] = np.nan_to_num(padded[..., 0] if is_flat else padded)
        arrays[f"lengths{meant.removeprefix('x')}"] = lengths
    return arrays


def _check_lengths(arrays: Mapping[str, np.ndarray]) -> None:
    by_meaning = {
        key: next(iter(value.values())) if isinstance(value, dict) else value
        for name, value in gather_named(arrays).items()
        for key in [array_name(name)]
    }
    for x_name, y_name in (WHOLE, *KEYS.values()):
        x, y = by_meaning.get(x_name), by_meaning.get(y_name)
        if x is not None and y is not None and y.ndim and len(x) != len(y):
            raise DatasetError(
                f"data: {x_name} and {y_name} differ in length, {len(x)} and {len(y)}"
                + transposed_hint(x.shape, len(y))
            )


def _kept_file(settings: Settings, name: str) -> Path:
    return kept_folder(settings, "data") / name


def _checked_array(name: str, value: Any) -> np.ndarray:
    """The values as an array that an .npz can hold. Raises DatasetError."""
    if hasattr(value, "toarray"):
        raise DatasetError(f"{name} is sparse; give {name}.toarray()")
    array = as_array(value, name)
    if array.dtype.kind == "O":
        array = _without_objects(name, array)
    named = named_array(name)
    if array_name(name) in FEATURES or (named is not None and named[0] in FEATURES):
        check_features(array, name)
    return array


def _without_objects(name: str, array: np.ndarray) -> np.ndarray:
    """Texts, numbers or truth values that an array holds as Python objects, as what they are."""
    values = array.tolist()
    flat = array.ravel().tolist()
    kinds = sorted({type(each).__name__ for each in flat})
    try:
        typed = np.array(values)
    except ValueError:  # lists of different lengths
        typed = array
    is_mixed = typed.dtype.kind == "U" and kinds != ["str"]
    if typed.dtype.kind not in "biufU" or typed.shape != array.shape or is_mixed:
        raise DatasetError(
            f"{name} holds {join_names(kinds)}; give it one type, or give columns of different "
            "types as a pandas DataFrame"
        )
    return typed


def _blocks(array: np.ndarray) -> Iterable[memoryview]:
    """The bytes of an array in C order, a part at a time."""
    rows = array.reshape(1) if array.ndim == 0 else array
    step = rows_per_block(rows.shape)
    for start in range(0, len(rows), step):
        block = np.ascontiguousarray(rows[start : start + step]).reshape(-1)
        if block.nbytes:
            yield block.view(np.uint8).data


def _write_archive(stream: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", _DATE)
            with archive.open(member, "w", force_zip64=True) as content:
                np.lib.format.write_array(content, array, allow_pickle=False)


def _keep_table(frame: "pd.DataFrame", target: str, settings: Settings) -> str:
    table = _as_arrow(frame)
    file = _kept_file(settings, f"table-{_hash_of(table)}.parquet")
    _write_table(file, table)
    return f"{path_in_project(file, settings)}:{target}"


def _keep_tables(parts: Mapping[str, Pair], settings: Settings) -> str:
    """Features in DataFrames, with their targets beside them."""
    if not all(_is_table(pair.x) for pair in parts.values()):
        raise DatasetError("data: x is a DataFrame in one part only")
    joined = {part: _join_target(part, pair) for part, pair in parts.items()}
    if list(joined) == ["train"]:
        return _keep_table(*joined["train"], settings)
    spellings = {"validation": "val"}
    tables = {
        spellings.get(part, part): (_as_arrow(frame), target)
        for part, (frame, target) in joined.items()
    }
    text = _LOADER.format(targets={part: target for part, (_, target) in tables.items()})
    marks = [text, *(f"{part} {_hash_of(table)}" for part, (table, _) in tables.items())]
    mark = hashlib.sha256("\n".join(marks).encode()).hexdigest()[:HASH_LENGTH]
    folder = _kept_file(settings, f"tables-{mark}")
    for part, (table, _) in tables.items():
        _write_table(folder / f"{part}.parquet", table)
    loader = folder / "load.py"
    if not loader.exists():
        with written_at_once(loader, len(text)) as stream:
            stream.write(text.encode())
    return f"{path_in_project(loader, settings)}:load"


def _join_target(part: str, pair: Pair) -> tuple["pd.DataFrame", str]:
    """One table of features and target, and the target's name. Raises DatasetError."""
    import pandas as pd

    frame, y = _as_frame(pair.x), pair.y
    if getattr(y, "ndim", 1) == 2 and hasattr(y, "squeeze"):
        y = y.squeeze(axis=1) if y.shape[1] == 1 else y
    targets = y if isinstance(y, pd.Series) else None
    if targets is None:
        values = as_array(y, f"y of {part}")
        if values.ndim != 1:
            raise DatasetError(f"y of {part} must be one column, its shape is {values.shape}")
        targets = pd.Series(values)
    if len(targets) != len(frame):
        raise DatasetError(f"x and y of {part} differ in length, {len(frame)} and {len(targets)}")
    check_order("data", part, pair)
    name = str(targets.name) if targets.name is not None else "target"
    if name in frame.columns:
        if frame[name].reset_index(drop=True).equals(targets.reset_index(drop=True)):
            return frame, name  # `target=table["churn"]` names a column of the table itself
        raise DatasetError(
            f"data: {name!r} is a column of x and the name of the target; rename one of them"
        )
    joined = frame.copy(deep=False)
    joined[name] = targets.array
    return joined, name


def _as_arrow(frame: "pd.DataFrame") -> Any:
    """The frame as Arrow has it. Raises DatasetError, naming a column that it cannot hold."""
    import pyarrow as pa

    for name in frame.columns:
        try:
            pa.Array.from_pandas(frame[name])
        except (pa.ArrowException, TypeError, ValueError) as error:
            kinds = sorted({type(each).__name__ for each in frame[name].dropna()})
            held = (
                f"holds {join_names(kinds)}; give it one type"
                if len(kinds) > 1
                else (f"cannot be stored ({first_line(error)}); give numbers, texts or dates")
            )
            raise DatasetError(f"data: column {name!r} {held}") from error
    return pa.Table.from_pandas(frame)


class _Digest(io.RawIOBase):
    """A stream that keeps only the hash of what is written."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.hash.update(content)
        return len(content)


def _hash_of(table: Any) -> str:
    import pyarrow as pa

    digest = _Digest()
    with pa.ipc.new_stream(pa.PythonFile(digest, mode="w"), table.schema) as stream:
        stream.write_table(table)
    return digest.hash.hexdigest()[:HASH_LENGTH]


def _write_table(file: Path, table: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    if file.exists():
        return
    with written_at_once(file, table.nbytes) as stream:
        try:
            pyarrow.parquet.write_table(table, stream)
        except pa.ArrowException as error:
            raise DatasetError(f"data: cannot be stored ({first_line(error)})") from error
