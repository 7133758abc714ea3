"""New data for a saved network: one row out for each row in, in order, in blocks."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tuner.data.raw import dataset_errors
from tuner.data.readers import (
    delimited,
    find_source,
    images,
    npz,
    parquet,
    parse_source,
    user_function,
)
from tuner.data.readers.bundled import NAMES
from tuner.data.readers.images import open_image
from tuner.data.readers.later_arrays import (
    open_function,
    open_idx_file,
    open_idx_folder,
    open_named,
    open_npz,
)
from tuner.data.readers.later_delimited import open_delimited
from tuner.data.readers.later_parquet import open_parquet
from tuner.data.readers.reader import Source
from tuner.data.row_blocks import LaterRows, RowBlock, RowRequest
from tuner.errors import DatasetError
from tuner.preparation.kinds import Task
from tuner.preparation.preparation import Preparation
from tuner.settings import Settings
from tuner.system.locations import is_file

__all__ = ["LaterRows", "RowBlock", "open_rows"]


class LaterFormat(NamedTuple):
    """`endings`: of the names of its files. `open_rows`: see `open_rows` below."""

    endings: tuple[str, ...]
    open_rows: Callable[[Source, RowRequest], LaterRows]


# To add a format of later rows: its function, and a line here.
FORMATS = (
    LaterFormat(delimited.READER.endings, open_delimited),
    LaterFormat(parquet.READER.endings, open_parquet),
    LaterFormat(npz.READER.endings, open_npz),
    LaterFormat(user_function.READER.endings, open_function),
    LaterFormat(images.ENDINGS, open_image),
)
_IDX_BEGINNINGS = (b"\0\0", b"\x1f\x8b")


def open_rows(
    text: str,
    preparation: Preparation,
    settings: Settings,
    task: Task,
    labels: Sequence[str],
) -> LaterRows:
    """The rows that `text` names: as for `--data`, also one IDX file or an image. The word after
    the colon of a table names its target, that after an archive or a folder the part (train,
    validation, test). Data with and without a target are read alike.

    Raises DatasetError for data that cannot be found or read, or that are not what the network
    takes.
    """
    request = RowRequest(preparation, task, tuple(labels), settings)
    source, open_source = _find(text, settings)
    return open_source(source, request)


def _find(
    text: str, settings: Settings
) -> tuple[Source, Callable[[Source, RowRequest], LaterRows]]:
    name, _, part = text.partition(":")
    if name in NAMES:
        return replace(parse_source(name), text=text, selector=part), open_named
    source = parse_source(text)
    path = source.path
    assert path is not None
    ending = "".join(path.suffixes[-1:]).lower()
    if source.reader.is_folder and (is_file(path) or ending in images.ENDINGS):
        if not is_file(path):
            raise DatasetError(f"{path}: no such file")
        return source, open_image if ending in images.ENDINGS else _open_unnamed(path)
    source = find_source(text, settings)[0]
    if source.reader.is_folder:
        return source, open_idx_folder
    name = source.path.name.lower() if source.path else ""
    return source, next(f.open_rows for f in FORMATS if name.endswith(f.endings))


def _open_unnamed(path: Path) -> Callable[[Source, RowRequest], LaterRows]:
    """How to open a file whose name does not say its format: IDX files have no ending."""
    with dataset_errors(str(path)), path.open("rb") as file:
        begins = file.read(2)
    if begins not in _IDX_BEGINNINGS:
        endings = [ending for each in FORMATS for ending in each.endings if ".gz" not in ending]
        raise DatasetError(
            f"{path}: the format is not known by its name; it may end in {', '.join(endings)}, or "
            "be an IDX file"
        )
    return open_idx_file
