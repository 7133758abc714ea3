"""A table that names image files: its rows become their pixels."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.image_cache import ImageFile
from tuner.data.image_rows import read_images
from tuner.data.image_tree import file_state
from tuner.data.raw import Pair, Raw
from tuner.data.readers.reader import Source
from tuner.data.rows import ChosenRows
from tuner.data.target import refuse_rows
from tuner.errors import DatasetError
from tuner.preparation.preparation import ImageFiles
from tuner.settings import Settings
from tuner.system.locations import KEPT_DATA, expanded_path
from tuner.values import join_names, suggest_names

if TYPE_CHECKING:
    import pandas as pd

    from tuner.study.spec import DataSpec

_SHOWN = 3


def read_table_images(raw: Raw, source: Source, settings: Settings, spec: "DataSpec") -> Raw:
    """The same rows, each with the pixels of the file that its column of paths names. The weights
    and the target stay; other columns are left out.

    Raises DatasetError for a column that is not there, gaps in it, files that are missing, and as
    `read_images`.
    """
    column = spec.images
    assert column is not None and source.path is not None
    folder = paths_folder(source.path)
    files: list[ImageFile] = []
    for part, pair in raw.parts.items():
        paths = _paths(pair, column, f"{raw.source} ({part})" if len(raw.parts) > 1 else raw.source)
        files += find_files(paths, folder, raw.source)
    images = read_images(files, spec, settings, raw.source)
    parts, start = {}, 0
    for part, pair in raw.parts.items():
        numbers = images.taken[(images.taken >= start) & (images.taken < start + len(pair.x))]
        rows = numbers - start
        weights = pair.x[spec.weights] if spec.weights in pair.x.columns else pair.weights
        chosen = [_choose(values, rows) for values in (pair.y, weights)]
        parts[part] = Pair(ChosenRows(images.rows, numbers), *chosen)
        start += len(pair.x)
    names = [str(name) for name in raw.parts["train"].x.columns]
    others = tuple(name for name in names if name not in (column, spec.weights))
    dropped = [f"columns left out, beside the images: {join_names(others)}"] if others else []
    return Raw(
        raw.source,
        raw.name,
        parts,
        raw.label_names,
        notes=(*raw.notes, *dropped, *images.notes),
        image_files=ImageFiles(column),
        skipped=images.skipped,
        left_out=others,
    )


def _paths(pair: Pair, column: str, what: str) -> "pd.Series[Any]":
    """The column of paths. Raises DatasetError where there is none."""
    if not hasattr(pair.x, "columns"):
        raise DatasetError(f"{what}: images: {column!r} names a column of a table, which x is not")
    names = [str(name) for name in pair.x.columns]
    if column not in names:
        is_target = getattr(pair.y, "name", None) == column
        problem = "is the target" if is_target else f"is no column{suggest_names(column, names)}"
        raise DatasetError(
            f"{what}: images: {column!r} {problem}; its other columns are {join_names(names)}"
        )
    values: pd.Series[Any] = pair.x.iloc[:, names.index(column)]
    refuse_rows(values.isna().to_numpy(), f"{what}: images: the path in {column!r}", "is missing")
    return values


def _choose(values: Any, rows: "np.ndarray") -> Any:
    if values is None or len(rows) == len(values):
        return values
    if hasattr(values, "iloc"):
        return values.iloc[rows].reset_index(drop=True)
    return np.asarray(values)[rows]


def paths_folder(table: Path) -> Path:
    """Where the relative paths in a table begin: its folder; the project's folder for a table from
    memory, which lies in `.tuner/data`."""
    folder = table.absolute().parent
    data_folder = tuple(Path(KEPT_DATA).parts)
    depth = next(
        (n for n in (0, 1) if folder.parts[: len(folder.parts) - n][-2:] == data_folder), None
    )
    return folder if depth is None else folder.parents[1 + depth]


def find_files(
    paths: Iterable[Any], folder: Path, source: str, rows_before: int = 0
) -> list[ImageFile]:
    """The files that the paths name, relative to the folder. Raises DatasetError, with the first of
    them and its row, for files that are missing."""
    files, missing = [], []
    for row, value in enumerate(paths):
        name = str(value)
        try:
            path = folder / expanded_path(name)
            files.append(ImageFile(str(path), name, file_state(path.stat())))
        except (OSError, ValueError):
            missing.append((row, name))
    if missing:
        shown = ", ".join(f"{name} (row {rows_before + row + 1})" for row, name in missing[:_SHOWN])
        more = f", … ({len(missing)} in all)" if len(missing) > _SHOWN else ""
        raise DatasetError(f"{source}: images are missing in {folder}: {shown}{more}")
    return files
