"""How a file of separated values is written, by its first lines: the separator, the header and the
names of the columns.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tuner.errors import DatasetError
from tuner.values import join_names

SEPARATORS = {",": "','", ";": "';' (semicolon)", "\t": "tab", "|": "'|'"}
NUMBER = re.compile(r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|inf|infinity)", re.IGNORECASE)
_MOST_ROWS = 100
_MOST_CELLS = 20_000
_FEWEST_ROWS = 20
_HINT_CHARACTERS = 100
_EXCEL_HINT = re.compile(r"\"?sep=(?P<separator>[,;\t|])\"?[,;\t|]*", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """`names`: one for each column, without the blanks around it, "" for none. `skip`: the number
    of lines up to and including the header. `sample`: the first rows below it. `looks_like_data`:
    whether the header may be a row of data."""

    separator: str
    names: tuple[str, ...]
    skip: int
    sample: tuple[list[str], ...]
    notes: tuple[str, ...] = ()
    looks_like_data: bool = False


class Record(NamedTuple):
    """A row of cells. `first`, `last`: its lines, from 1; two if a cell holds line breaks."""

    first: int
    last: int
    cells: list[str]

    @property
    def is_blank(self) -> bool:
        return len(self.cells) == 0 or (len(self.cells) == 1 and not self.cells[0].strip())

    @property
    def is_comment(self) -> bool:
        return bool(self.cells) and self.cells[0].lstrip().startswith("#")

    @property
    def filled(self) -> int:
        return sum(bool(cell.strip()) for cell in self.cells)


def read_records(lines: Iterator[str], separator: str, strict: bool = False) -> Iterator[Record]:
    """Raises DatasetError, without the name of the file, for wrong quotes (if `strict`)."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=strict)
    before = 0
    try:
        for cells in reader:
            yield Record(before + 1, reader.line_num, cells)
            before = reader.line_num
    except csv.Error as error:
        raise DatasetError(
            f'line {before + 1}: a cell begins with a quote (") that is not closed, or text '
            "follows its end; mend it, or write the quotes in the text twice"
        ) from error


def find_dialect(text: str, whole: bool, source: str) -> Dialect:
    """`text`: the whole file, or only its first lines. Raises DatasetError, naming `source`, if the
    header is missing or names two columns alike."""
    if not text or text.isspace():
        raise DatasetError(f"{source}: is empty")
    first_line, _, rest = text[:_HINT_CHARACTERS].partition("\n")
    hint = _EXCEL_HINT.fullmatch(first_line.strip())
    separators = tuple(hint["separator"]) if hint and rest else tuple(SEPARATORS)
    there = [sep for sep in separators if sep in text] or separators[:1]
    by_separator = {sep: _first_records(text, sep, whole) for sep in there}
    separator = max(there, key=lambda sep: _regularity(by_separator[sep]))
    if _regularity(by_separator[separator])[0] < 0.5:
        separator = there[0]
    rows = by_separator[separator][1:] if hint and rest else by_separator[separator]
    width = _usual_width(rows)
    header, sample, notes = _find_header(rows, width)
    names = _names(header)
    # Many programs end every line with a separator, some of them not the header.
    longer = [cells for cells in sample if len(cells) == len(names) + 1]
    if sample and len(longer) == len(sample) and not any(cells[-1].strip() for cells in sample):
        names = (*names, "")
    on_separator = () if separator == "," else (f"separator {SEPARATORS[separator]}",)
    like_data = _looks_like_data(names, sample)
    _check_names(names, like_data, source)
    notes = (*on_separator, *notes, *_header_notes(names, like_data))
    return Dialect(separator, names, header.last, sample, notes, like_data)


def _first_records(text: str, separator: str, whole: bool) -> list[Record]:
    first_records: list[Record] = []
    cells = 0
    try:
        for record in read_records(io.StringIO(text, newline=""), separator):
            first_records.append(record)
            cells += len(record.cells)
            full = len(first_records) >= _FEWEST_ROWS and cells >= _MOST_CELLS
            if full or len(first_records) >= _MOST_ROWS:
                return first_records
    except DatasetError:  # a cell that is too long: the rest is not examined
        return first_records
    # The last row of an incomplete text may continue.
    return first_records if whole or len(first_records) < 2 else first_records[:-1]


def _usual_width(rows: Sequence[Record]) -> int:
    widths = Counter(len(row.cells) for row in rows if not row.is_blank)
    return max((w for w in widths if w > 1), key=lambda w: (widths[w], w), default=1)


def _regularity(rows: Sequence[Record]) -> tuple[float, int]:
    """The share of the rows that have the usual number of cells, and that number."""
    width = _usual_width(rows)
    filled = [row for row in rows if not row.is_blank]
    if width == 1 or not filled:
        return 0.0, 0
    return sum(len(row.cells) == width for row in filled) / len(filled), width


def _find_header(
    rows: Sequence[Record], width: int
) -> tuple[Record, tuple[list[str], ...], tuple[str, ...]]:
    """The header, the rows below it, and notes on the lines above."""
    number = next((i for i, row in enumerate(rows) if not _is_above(rows, i, width)), 0)
    above = [row for row in rows[:number] if not row.is_blank]
    notes: tuple[str, ...] = ()
    if above and _is_marked_header(above[-1], rows[number]):
        number = rows.index(above.pop())
        first, *others = rows[number].cells
        cells = [first.lstrip().lstrip("#"), *others]
        header = Record(rows[number].first, rows[number].last, cells)
        notes = ("the names of the columns are those of a line that begins with '#'",)
    else:
        header = rows[number]
    if above:
        lines = "1 line" if len(above) == 1 else f"{len(above)} lines"
        begins = " ".join(" ".join(above[0].cells).split())[:40]
        notes = (f"{lines} above the header left out: {begins!r}{' …' * (len(above) > 1)}", *notes)
    below = (row for row in rows[number + 1 :] if not row.is_blank and not row.is_comment)
    return header, tuple(row.cells for row in below), notes


def _is_above(rows: Sequence[Record], number: int, width: int) -> bool:
    """Whether a row is blank, a comment, a title, or a pair of a word and its value, and the header
    comes later."""
    row = rows[number]
    if row.is_blank or row.is_comment:
        return number < len(rows) - 1
    if not any(later.filled > row.filled for later in rows[number + 1 :]):
        return False
    if width == 2:
        return len(row.cells) == 1
    return row.filled == 1 or (width > 3 and row.filled < width - 1 and row.filled <= 2)


def _is_marked_header(comment: Record, below: Record) -> bool:
    """Whether a comment names the columns, as numpy.savetxt writes it."""
    return (
        comment.is_comment
        and len(comment.cells) == len(below.cells)
        and any(NUMBER.fullmatch(cell.strip()) for cell in below.cells)
    )


def _names(header: Record) -> tuple[str, ...]:
    return tuple(" ".join(cell.split()) for cell in header.cells)


def _check_names(names: Sequence[str], like_data: bool, source: str) -> None:
    filled = [name for name in names if name]
    advice = "add a first line with the names of the columns"
    if not filled:
        raise DatasetError(f"{source}: the columns have no names; {advice}")
    if all(NUMBER.fullmatch(name) for name in filled) and not _is_range(filled):
        raise DatasetError(
            f"{source}: the first line holds numbers only ({join_names(filled[:5])}): the header "
            f"is missing, and this row would be lost; {advice}"
        )
    twice = sorted(name for name, count in Counter(filled).items() if count > 1)
    if twice and like_data:
        raise DatasetError(
            f"{source}: the first line looks like data ({join_names(filled[:5])}): the header is "
            f"missing; {advice}"
        )
    if twice:
        raise DatasetError(
            f"{source}: several columns are named {join_names(map(repr, twice))}; rename or remove "
            "all but one"
        )


def _is_range(names: Sequence[str]) -> bool:
    """Whether the names count up by one, as pandas does for the columns of an array."""
    if not all(name.isdecimal() for name in names):
        return False
    return [int(name) for name in names] == [int(names[0]) + i for i in range(len(names))]


def _looks_like_data(names: Sequence[str], sample: Sequence[Sequence[str]]) -> bool:
    """Whether the name of each column of numbers is a number, and these do not count up."""
    numeric = [
        name
        for number, name in enumerate(names)
        if name
        and sample
        and all(number < len(cells) and NUMBER.fullmatch(cells[number].strip()) for cells in sample)
    ]
    return (
        bool(numeric) and all(NUMBER.fullmatch(name) for name in numeric) and not _is_range(numeric)
    )


def _header_notes(names: Sequence[str], like_data: bool) -> tuple[str, ...]:
    filled = [name for name in names if name]
    if like_data:
        return (
            f"the first line ({join_names(filled[:5])}) is taken for the names of the columns; if "
            "it is data, add a line of names above it",
        )
    if all(name.isdecimal() for name in filled):
        return (f"the first line ({join_names(filled[:5])}) is taken for the names of the columns",)
    return ()
