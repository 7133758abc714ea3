"""What a reader of data is, and how a reader of tables is made.

A reader is one file of this folder that makes one `Reader`; the table `READERS` (`__init__.py`)
has it on a line of its own. A format of tables needs nothing but a function that gives a
`TableFile`: see `table_reader`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.data.columns import check_kinds
from tuner.data.first_reading import read_table_first
from tuner.data.raw import FIRST_READING, Pair, Raw, dataset_errors
from tuner.errors import DatasetError
from tuner.settings import Settings
from tuner.values import join_names, suggest_names

if TYPE_CHECKING:  # training reads data without pydantic; only tables need pandas
    import pandas as pd

    from tuner.study.spec import ColumnKind, DataSpec


@dataclass(frozen=True)
class Reader:
    """One format of data.

    `example`: how to name such data, for messages. `read`: reads a source that was found; raises
    DatasetError. `endings`: how names of its files end, in small letters; none for folders
    (`is_folder`) and known names. `selects`: what the word after the file's colon names; "" if no
    word may follow. `runs_code`: whether reading runs code of the user. `holds`: whether a folder
    holds such data. `takes_images`: whether it decodes image files.
    """

    example: str
    read: "Callable[[Source, Settings, DataSpec], Raw]"
    endings: tuple[str, ...] = ()
    selects: str = ""
    is_folder: bool = False
    runs_code: bool = False
    holds: Callable[[Path], bool] = lambda folder: False
    takes_images: bool = False


@dataclass(frozen=True)
class Source:
    """What `--data` names, taken apart: a known name, or a path with the word after its colon, ""
    if none follows.

    `name` is the data set's own name: the known name, or that of the file or folder without its
    ending. `reader` reads it.
    """

    text: str
    name: str
    reader: Reader
    path: Path | None = None
    selector: str = ""

    @property
    def selects(self) -> bool:
        """Whether the path is followed by the name of a column or a function."""
        return bool(self.reader.selects)

    @property
    def code(self) -> Path | None:
        """The Python file, where the source is user code."""
        return self.path if self.reader.runs_code else None


@dataclass(frozen=True)
class TableFile:
    """All columns of a file. `notes`: decisions to report, a line each. `hint`: the end of a
    message that the target column is missing."""

    frame: "pd.DataFrame"
    notes: tuple[str, ...] = ()
    hint: str = ""


def table_reader(*endings: str, example: str, read_file: Callable[[Path], TableFile]) -> Reader:
    """The reader of a format whose files hold one table. `read_file` may raise anything: it becomes
    a DatasetError that names the file."""

    def read(source: Source, settings: Settings, spec: "DataSpec") -> Raw:
        assert source.path is not None
        with dataset_errors(str(source.path)):
            if spec.reading == FIRST_READING:
                table = TableFile(read_table_first(source.path))
            else:
                table = read_file(source.path)
        pair = _split_target(source.path, source.selector, spec.columns, table)
        return Raw(source.text, source.name, {"train": pair}, notes=table.notes)

    return Reader(example, read, endings, selects="column")


def _split_target(
    path: Path, selector: str, kinds: Mapping[str, "ColumnKind"], table: TableFile
) -> Pair:
    """A DataFrame of every column but the target, and the target's Series.

    Raises DatasetError if the target is not named, or is the only column.
    """
    target = _target_name(path, selector, kinds, table)
    if table.frame.shape[1] < 2:
        raise DatasetError(f"{path}: has no column beside the target {target!r}{table.hint}")
    return Pair(table.frame.drop(columns=target), table.frame[target])


def _target_name(
    path: Path, selector: str, kinds: Mapping[str, "ColumnKind"], table: TableFile
) -> str:
    """The target column: named by the selector, or as a column of that kind."""
    names = list(table.frame.columns)
    targets = dict.fromkeys([selector] if selector else [])
    targets |= dict.fromkeys(name for name, kind in kinds.items() if kind == "target")
    columns = join_names(names)
    problems = []
    if not targets:
        problems.append(f"name the target column as {path}:COLUMN, one of {columns}")
    elif len(targets) > 1:
        problems.append(f"several targets are named: {join_names(targets)}; name one")
    elif selector and selector not in names:
        meant = suggest_names(selector, names)
        problems.append(f"no column {selector!r}{meant}; it has {columns}{table.hint}")
    target = next(iter(targets)) if len(targets) == 1 else ""
    others = {n: kind for n, kind in kinds.items() if kind != "target" or n not in names}
    problems += check_kinds(others, names, target)
    if problems:
        raise DatasetError(f"{path}: {'; '.join(problems)}")
    return target
