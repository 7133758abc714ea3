"""What a reader of data is, and how a reader of tables is made.

A reader is one file of this folder that makes one `Reader`; the table `READERS` (`__init__.py`)
has it on a line of its own. A format of tables needs nothing but a function that gives a
`TableFile`: see `table_reader`.
"""

import csv
from collections import Counter
from collections.abc import Callable, Sequence
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

    from tuner.study.spec import DataSpec


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
        pair = _split_targets(source.path, source.selector, spec, table)
        return Raw(source.text, source.name, {"train": pair}, notes=table.notes)

    return Reader(example, read, endings, selects="column")


def _split_targets(path: Path, selector: str, spec: "DataSpec", table: TableFile) -> Pair:
    """A DataFrame of every column but the targets, and the target's Series, or a DataFrame of
    several targets.

    Raises DatasetError if the target is not named, or there is no other column.
    """
    targets = _target_names(path, selector, spec, table)
    if table.frame.shape[1] <= len(targets):
        names = join_names(map(repr, targets))
        raise DatasetError(f"{path}: has no column beside the target {names}{table.hint}")
    y = table.frame[targets[0]] if len(targets) == 1 else table.frame[targets]
    return Pair(table.frame.drop(columns=targets), y)


def selected_columns(selector: str, names: Sequence[str]) -> list[str]:
    """The columns that the words after a file's colon name: one, or several with commas between
    them, in quotes where a name holds a comma. A column that is named so itself comes first. A
    name that is given twice is there twice."""
    if not selector or selector in names:
        return [selector] if selector else []
    columns = next(csv.reader([selector], skipinitialspace=True), [])
    return [column.strip() for column in columns if column.strip()]


def repeated_names(names: Sequence[str]) -> list[str]:
    """Those that are there more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def _target_names(path: Path, selector: str, spec: "DataSpec", table: TableFile) -> list[str]:
    """The target columns: named by the selector, by what is said of each of several targets, or as
    a column of that kind."""
    names, kinds = list(table.frame.columns), spec.columns
    selected = selected_columns(selector, names)
    declared = {name: kind for name, kind in kinds.items() if kind == "target"}
    targets = list(dict.fromkeys([*(selected or spec.targets), *declared]))
    columns = join_names(names)
    problems = [f"the target {name!r} is named twice" for name in repeated_names(selected)]
    if not targets:
        problems.append(f"name the target column as {path}:COLUMN, one of {columns}")
    elif len(targets) > max(1, len({*selected} or spec.targets)):
        together = ",".join(targets)
        problems.append(
            f"several targets are named: {join_names(targets)}; name one, or all of them as "
            f"{path}:{together}"
        )
    for name in dict.fromkeys(selected or spec.targets):
        if name not in names:
            meant = suggest_names(name, names)
            problems.append(f"no column {name!r}{meant}; it has {columns}{table.hint}")
    target = targets[0] if len(targets) == 1 else ""
    others = {n: kind for n, kind in kinds.items() if kind != "target" or n not in names}
    problems += check_kinds(others, names, target)
    problems += [
        f"--column {name}={kinds[name]}: it is a target; say its task in the space's data: targets"
        for name in targets
        if len(targets) > 1 and kinds.get(name, "target") != "target"
    ]
    if problems:
        raise DatasetError(f"{path}: {'; '.join(problems)}")
    return targets
