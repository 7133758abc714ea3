"""New data for a saved network: one row out for each row in, in order, in blocks."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tuner.data.image_decoding import ENDINGS as IMAGE_ENDINGS
from tuner.data.raw import dataset_errors
from tuner.data.readers import (
    bundled,
    delimited,
    find_source,
    idx,
    image_folder,
    npz,
    parquet,
    parse_source,
    user_function,
)
from tuner.data.readers.bundled import NAMES
from tuner.data.readers.later_arrays import (
    open_function,
    open_idx_file,
    open_idx_folder,
    open_named,
    open_npz,
)
from tuner.data.readers.later_delimited import open_delimited
from tuner.data.readers.later_images import open_image, open_image_folder, open_image_table
from tuner.data.readers.later_parquet import open_parquet
from tuner.data.readers.reader import Reader, Source
from tuner.data.row_blocks import LaterRows, RowBlock, RowRequest
from tuner.errors import DatasetError
from tuner.preparation.kinds import Task
from tuner.preparation.predictions import Head
from tuner.preparation.preparation import Preparation
from tuner.settings import Settings
from tuner.system.locations import is_file

__all__ = ["LaterRows", "RowBlock", "open_rows"]


OpenSource = Callable[[Source, RowRequest], LaterRows]

# How the data that each reader trains from are read for a saved network.
OPENERS: dict[Reader, OpenSource] = {
    bundled.READER: open_named,
    delimited.READER: open_delimited,
    parquet.READER: open_parquet,
    npz.READER: open_npz,
    idx.READER: open_idx_folder,
    image_folder.READER: open_image_folder,
    user_function.READER: open_function,
}
_IDX_BEGINNINGS = (b"\0\0", b"\x1f\x8b")


def open_rows(
    text: str,
    preparation: Preparation,
    settings: Settings,
    task: Task,
    labels: Sequence[str],
    targets: Sequence[Head] = (),
) -> LaterRows:
    """The rows that `text` names: as for `--data`, also one IDX file, an image, or a folder of
    images without classes. The word after
    the colon of a table names its target, that after an archive or a folder the part (train,
    validation, test). Data with and without a target are read alike. `targets`: of a network with
    several, `NetworkDescription.targets`.

    Raises DatasetError for data that cannot be found or read, or that are not what the network
    takes.
    """
    request = RowRequest(preparation, task, tuple(labels), settings, tuple(targets))
    source, open_source = _find(text, settings)
    images = preparation.image_files
    if images is not None and images.column is not None and source.reader.selects == "column":
        return open_image_table(source, request, open_source)
    return open_source(source, request)


def _find(text: str, settings: Settings) -> tuple[Source, OpenSource]:
    name, _, part = text.partition(":")
    if name in NAMES:
        source = replace(parse_source(name), text=text, selector=part)
        return source, OPENERS[source.reader]
    source = parse_source(text)
    path = source.path
    assert path is not None
    is_image = path.suffix.lower() in IMAGE_ENDINGS
    if source.reader.is_folder and (is_file(path) or is_image):
        if not is_file(path):
            raise DatasetError(f"{path}: no such file")
        return source, open_image if is_image else _open_unnamed(path)
    source = find_source(text, settings)[0]
    return source, OPENERS[source.reader]


def _open_unnamed(path: Path) -> OpenSource:
    """How to open a file that no reader trains from: one of IDX files, whose names have no
    ending."""
    with dataset_errors(str(path)), path.open("rb") as file:
        begins = file.read(2)
    if begins not in _IDX_BEGINNINGS:
        of_readers = [ending for reader in OPENERS for ending in reader.endings]
        endings = [ending for ending in (*of_readers, *IMAGE_ENDINGS) if ".gz" not in ending]
        raise DatasetError(
            f"{path}: the format is not known by its name; it may end in {', '.join(endings)}, or "
            "be an IDX file"
        )
    return open_idx_file
