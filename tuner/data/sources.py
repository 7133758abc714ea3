"""From the text of `--data` to what it names."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tuner.data.idx import read_idx_folder
from tuner.data.named import NAMES, read_named
from tuner.data.npz import read_npz
from tuner.data.raw import Pair, Raw
from tuner.data.tables import read_table
from tuner.data.user_code import read_user_code
from tuner.errors import DatasetError
from tuner.settings import Settings

_FORMS = "a folder of IDX files, file.npz, file.csv:target, file.parquet:target or file.py:load"

# Suffix -> reader of (path, what follows the colon).
_SELECTING: dict[str, Callable[[Path, str], dict[str, Pair]]] = {
    ".csv": read_table,
    ".parquet": read_table,
    ".py": read_user_code,
}


@dataclass(frozen=True)
class Source:
    """A source taken apart: a name, or a path with what follows its colon ("" when nothing does).

    `name` is the data set's own name: a known name, or the file's or folder's without its suffix.
    """

    text: str
    name: str
    path: Path | None = None
    selector: str = ""

    @property
    def code(self) -> Path | None:
        """The Python file, where the source is user code."""
        return self.path if self.path and self.path.suffix.lower() == ".py" else None


def parse_source(text: str) -> Source:
    """Take a source apart without reading it. A known name goes before a folder of that name.

    Raises DatasetError for a name that is neither known nor there as a folder.
    """
    if text in NAMES:
        return Source(text, text)
    head, _, selector = text.partition(":")
    path = Path(head).expanduser()
    if path.suffix.lower() in _SELECTING or path.suffix.lower() == ".npz":
        return Source(text, path.stem, path, selector)
    if head and path.is_dir():
        return Source(text, path.resolve().name, path, selector)
    raise _unknown(text)


def _unknown(text: str) -> DatasetError:
    close = difflib.get_close_matches(text.lower().replace("-", "_"), NAMES, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return DatasetError(
        f"no data set or folder {text!r}{hint}; known are {', '.join(NAMES)}; or give {_FORMS}"
    )


def read_source(text: str, settings: Settings) -> Raw:
    """Read what the text names. Raises DatasetError where that cannot be found or read."""
    source = parse_source(text)
    if source.path is None:
        return read_named(source.name, settings)
    suffix = source.path.suffix.lower()
    if suffix in _SELECTING:
        parts = _SELECTING[suffix](source.path, source.selector)
    elif source.selector:
        raise DatasetError(f"{text}: nothing may follow the name of an .npz file or IDX folder")
    else:
        read = read_npz if suffix == ".npz" else read_idx_folder
        parts = read(source.path, settings)
    return Raw(text, source.name, parts)
