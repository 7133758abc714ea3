"""The formats of data, and the way from the text of `--data` to its reader."""

import difflib
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.data.raw import Raw
from tuner.data.readers import (
    bundled,
    delimited,
    idx,
    image_folder,
    npz,
    parquet,
    user_function,
)
from tuner.data.readers.bundled import NAMES
from tuner.data.readers.image_table import read_table_images
from tuner.data.readers.reader import Reader, Source
from tuner.data.rows import project_folder
from tuner.errors import DatasetError
from tuner.settings import Settings
from tuner.system.locations import expanded_path, is_folder
from tuner.values import join_names

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import DataSpec

# To add a format: a file of this folder with its Reader, and a line here.
READERS: tuple[Reader, ...] = (
    image_folder.READER,
    idx.READER,
    npz.READER,
    delimited.READER,
    parquet.READER,
    user_function.READER,
)

_BY_ENDING = {ending: reader for reader in READERS for ending in reader.endings}
_FOLDERS = tuple(reader for reader in READERS if reader.is_folder)

# The name may hold colons; the first known ending ends it.
_FILE = re.compile(
    rf"(?P<path>.*?[^/](?P<ending>{'|'.join(map(re.escape, _BY_ENDING))}))(?::(?P<selector>.*))?",
    re.IGNORECASE | re.DOTALL,
)


def list_formats() -> str:
    """How to name data of each format, for messages."""
    *others, last = (reader.example for reader in READERS)
    return f"{', '.join(others)} or {last}"


def parse_source(text: str) -> Source:
    """Take the text apart, without looking into the data: `find_source` finds the reader of a
    folder. A known name is preferred to a folder of that name."""
    if text in NAMES:
        return Source(text, text, bundled.READER)
    file = _FILE.fullmatch(text)
    if file is not None:
        path, ending = expanded_path(file["path"]), file["ending"]
        name = path.name[: -len(ending)]
        return Source(text, name, _BY_ENDING[ending.lower()], path, file["selector"] or "")
    # A folder's own name may hold a colon.
    heads = dict.fromkeys((text, text.rpartition(":")[0], text.partition(":")[0]))
    head = next((head for head in heads if head and is_folder(expanded_path(head))), text)
    path = expanded_path(head)
    return Source(text, path.resolve().name, idx.READER, path, text[len(head) + 1 :])


def find_source(text: str, settings: Settings) -> list[Source]:
    """Where the data are: a relative path is looked for in the current folder, then in that of a
    SQLite database. Raises DatasetError, naming these folders, if it is in neither."""
    source = parse_source(text)
    if source.path is None:
        return [source]
    folders = [Path.cwd()]
    project = project_folder(settings)
    if project is not None and project.resolve() != folders[0].resolve():
        folders.append(project)
    if source.path.is_absolute():
        folders = folders[:1]
    # A path in the current folder stays as it was typed.
    paths = [source.path, *(folder / source.path for folder in folders[1:])]
    sources = [
        _with_folder_reader(replace(source, path=path))
        for path in paths
        if _exists(path, source.reader.is_folder)
    ]
    if sources:
        return sources
    looked = "" if source.path.is_absolute() else f" in {' or '.join(map(str, folders))}"
    if source.reader.is_folder:
        raise _unknown(text, looked)
    raise DatasetError(f"{source.path}: no such file{looked}")


def _with_folder_reader(source: Source) -> Source:
    """A folder with the reader of what it holds. Raises DatasetError where that is not clear."""
    if not source.reader.is_folder or source.path is None:
        return source
    fitting = [reader for reader in _FOLDERS if reader.holds(source.path)]
    if len(fitting) > 1:
        raise DatasetError(
            f"{source.path}: holds both images and IDX files; move one kind to a folder of its own"
        )
    return replace(source, reader=fitting[0]) if fitting else source


def _exists(path: Path, is_folder: bool) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode) or not is_folder
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True  # its reader will say what is wrong


def _unknown(text: str, looked: str) -> DatasetError:
    if Path(text).suffix:
        return DatasetError(f"{text}: no such file{looked}; data are {list_formats()}")
    close = difflib.get_close_matches(text.lower().replace("-", "_"), NAMES, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return DatasetError(
        f"no data set or folder {text!r}{hint}{looked}; known are {', '.join(NAMES)}; or give "
        f"{list_formats()}"
    )


def read_source(source: Source, settings: Settings, spec: "DataSpec") -> Raw:
    """Read a source that was found. Raises DatasetError if it cannot be read."""
    if source.selector and not source.selects:
        raise DatasetError(
            f"{source.text}: nothing may follow the name of an .npz file or a folder"
        )
    _check_image_options(source, spec)
    raw = source.reader.read(source, settings, spec)
    return raw if spec.images is None else read_table_images(raw, source, settings, spec)


def _check_image_options(source: Source, spec: "DataSpec") -> None:
    """Raises DatasetError for options on images that have no effect on such data."""
    if spec.images is not None and spec.window is not None:
        raise DatasetError(f"{source.text}: window and images do not go together; leave one out")
    if spec.images is not None and source.selects and not source.reader.takes_images:
        return
    if spec.images is not None:
        raise DatasetError(
            f"{source.text}: images names a column of a table with the paths of images; these data "
            "are no table"
        )
    set_options = {"image_size": spec.image_size is not None, "grayscale": spec.grayscale}
    set_options["broken"] = spec.broken != "refuse"
    named = [name for name, is_set in set_options.items() if is_set]
    if named and not source.reader.takes_images:
        raise DatasetError(
            f"{source.text}: {join_names(named)} is for a folder of images, or for a table that "
            "names images: --images COLUMN"
        )
