"""From the text of `--data` to what it names."""

import difflib
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.data.memory_maps import project_folder
from tuner.data.raw import FIRST_READING, Raw
from tuner.data.readers.bundled import NAMES, read_named
from tuner.data.readers.idx import read_idx_folder
from tuner.data.readers.npz import read_npz
from tuner.data.readers.user_function import read_user_code
from tuner.data.table_encoding import read_table
from tuner.errors import DatasetError
from tuner.settings import Settings

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import DataSpec

_FORMS = (
    "a folder of IDX files, file.npz, file.csv:target (also .tsv, .txt, .csv.gz), "
    "file.parquet:target or file.py:load"
)

# The endings of tables: the name of their target column follows the file's.
_TABLES = (".csv", ".tsv", ".tab", ".txt", ".parquet")

# The name may hold colons; the first ending that is known ends it.
_FILE = re.compile(
    r"(?P<path>.*?[^/]\.(?:(?:csv|tsv|tab|txt)(?:\.gz)?|parquet|py|npz))(?::(?P<selector>.*))?",
    re.IGNORECASE | re.DOTALL,
)


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
    def is_folder(self) -> bool:
        return self.path is not None and _FILE.fullmatch(self.text) is None

    @property
    def selects(self) -> bool:
        """Whether the path is followed by the name of a column or a function."""
        return self.ending in (*_TABLES, ".py")

    @property
    def ending(self) -> str:
        """Of the file's name, in small letters and without .gz; "" for a known name."""
        return "" if self.path is None else Path(_unpacked(self.path.name)).suffix.lower()

    @property
    def code(self) -> Path | None:
        """The Python file, where the source is user code."""
        is_code = self.path and not self.is_folder and self.path.suffix.lower() == ".py"
        return self.path if is_code else None


def parse_source(text: str) -> Source:
    """Take a source apart without looking for it. A known name goes before a folder of that
    name."""
    if text in NAMES:
        return Source(text, text)
    file = _FILE.fullmatch(text)
    if file is not None:
        path = _expanded(file["path"])
        return Source(text, Path(_unpacked(path.name)).stem, path, file["selector"] or "")
    # A folder's own name may hold a colon.
    heads = dict.fromkeys((text, text.rpartition(":")[0], text.partition(":")[0]))
    head = next((head for head in heads if head and _expanded(head).is_dir()), text)
    path = _expanded(head)
    return Source(text, path.resolve().name, path, text[len(head) + 1 :])


def _unpacked(name: str) -> str:
    return name[:-3] if name.lower().endswith(".gz") else name


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~ and the name of nobody on this machine
        return Path(text)


def find_source(text: str, settings: Settings) -> list[Source]:
    """Where what the text names lies: what is relative is looked for in the current folder, then in
    the folder of a SQLite database. Raises DatasetError, naming these, where it is in neither."""
    source = parse_source(text)
    if source.path is None:
        return [source]
    places = [Path.cwd()]
    project = project_folder(settings)
    if project is not None and project.resolve() != places[0].resolve():
        places.append(project)
    if source.path.is_absolute():
        places = places[:1]
    # A path in the current folder stays as it was typed.
    paths = [source.path, *(place / source.path for place in places[1:])]
    found = [replace(source, path=path) for path in paths if _is_there(path, source.is_folder)]
    if found:
        return found
    looked = "" if source.path.is_absolute() else f" in {' or '.join(map(str, places))}"
    if source.is_folder:
        raise _unknown(text, looked)
    raise DatasetError(f"{source.path}: no such file{looked}")


def _is_there(path: Path, is_folder: bool) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode) or not is_folder
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True  # its reader will say what is wrong


def _unknown(text: str, looked: str) -> DatasetError:
    close = difflib.get_close_matches(text.lower().replace("-", "_"), NAMES, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return DatasetError(
        f"no data set or folder {text!r}{hint}{looked}; known are {', '.join(NAMES)}; or give "
        f"{_FORMS}"
    )


def read_source(source: Source, settings: Settings, spec: "DataSpec") -> Raw:
    """Read what was found. Raises DatasetError where it cannot be read."""
    if source.path is None:
        return read_named(source.name, settings)
    notes: tuple[str, ...] = ()
    if source.ending in _TABLES and not source.is_folder:
        parts, notes = read_table(source.path, source.selector, spec.columns, spec.reading)
    elif source.ending == ".py" and not source.is_folder:
        parts = read_user_code(source.path, source.selector, spec.reading == FIRST_READING)
        notes = getattr(parts, "notes", ())
    elif source.selector:
        raise DatasetError(
            f"{source.text}: nothing may follow the name of an .npz file or IDX folder"
        )
    elif source.is_folder:
        parts = read_idx_folder(source.path, settings)
    else:
        arrays = read_npz(source.path, settings, spec.reading == FIRST_READING)
        parts, notes = arrays, arrays.notes
    return Raw(source.text, source.name, parts, notes=notes)
