"""CSV files and similar ones, read without losing anything of a cell.

Arrow splits the file and recognises numbers. The scan and the checks here find what Arrow would
change: leading zeros, long ids, dates, words for missing values. Such columns stay text.
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.data.raw import dataset_errors
from tuner.data.readers.arrow_columns import (
    COMMA_NUMBER,
    DOT_THOUSANDS,
    EXACT_LIMIT,
    choose_true_form,
    coded_text_type,
    different_texts,
    encode_texts,
    exceeds,
    find_free_name,
    is_text_column,
    is_whole_column,
    parse_decimal_commas,
    parse_dot_thousands,
    to_pandas,
    total_row_notes,
)
from tuner.data.readers.dialect import NUMBER, Dialect, Record, find_dialect, read_records
from tuner.data.readers.reader import TableFile, table_reader
from tuner.data.readers.text_file import WESTERN, BlockStream, Scan, TextFile, open_text, scan_text
from tuner.errors import DatasetError
from tuner.preparation.cells import is_index, row_number_notes
from tuner.preparation.number_texts import TRUTH_VALUES
from tuner.values import join_names

if TYPE_CHECKING:  # pandas takes half a second to import: only tables pay it
    pass

_BLOCK_BYTES = 2**23
_ROWS_AT_ONCE = 5000
_BLANKS = [" " * count for count in range(33)]
_WHOLE_NUMBER = re.compile(r"-?\d{1,18}")
_CERTAIN_POINT = r"\.(\d{1,2}|\d{4,})$"


_NO_HEADER = "; its first line looks like data: if the header is missing, add one"
_NO_SEPARATOR = "; no ',', ';', tab or '|' separates cells in its first lines; save it as CSV"


def read_delimited(path: Path) -> TableFile:
    """Values separated by ',', ';', tab or '|', UTF-8, UTF-16 or Windows-1252, also packed by gzip.
    Each column is int64, float64 (NaN for an empty cell), bool, or text as in the file but for the
    blanks around it, with gaps for empty cells alone. Words such as NA are text.

    Raises DatasetError, with the line and what to do, for other files, rows of different lengths,
    quotes that do not close, and two columns of one name.
    """
    import pyarrow as pa

    with dataset_errors(str(path)):
        state = path.stat()
        file = open_text(path)
        dialect = find_dialect(file.head_text(), file.whole, str(path))
        file, seen = scan_text(file, dialect.separator)
        table, notes = _DelimitedTable(file, dialect, seen).read()
        after = path.stat()
        if (state.st_size, state.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise DatasetError(f"{path}: changed while it was read; try again")
        names, columns = table.column_names, table.columns
        del table
        frame = to_pandas(names, columns)
        pa.default_memory_pool().release_unused()  # a third of the process' memory
    western = file.encoding in WESTERN
    encoding = ("not UTF-8: read as Windows-1252 (Latin-1) text",) if western else ()
    hint = _NO_HEADER if dialect.looks_like_data else ""
    hint = hint or (_NO_SEPARATOR if frame.shape[1] == 1 else "")
    return TableFile(frame, (*encoding, *dialect.notes, *notes), hint)


def _replaced(table: Any, label: str, column: Any) -> Any:
    return table if column is table[label] else table.set_column(int(label), label, column)


class _DelimitedTable:
    """A file as an Arrow table. Its columns are called 0, 1, … until the end, since a file may have
    columns without a name."""

    def __init__(self, file: TextFile, dialect: Dialect, seen: Scan) -> None:
        self._file, self._dialect, self._seen = file, dialect, seen
        self._source = str(file.path)
        self._labels = [str(number) for number in range(len(dialect.names))]
        self._clean, self._comments = seen.loose_quotes, 0
        rows = [[cell.strip() for cell in row] for row in dialect.sample]
        # The cells of each column in the first rows, without the empty ones.
        self._sample = [
            [row[number] for row in rows if number < len(row) and row[number]]
            for number in range(len(dialect.names))
        ]

    def read(self) -> tuple[Any, tuple[str, ...]]:
        import pyarrow as pa

        table = self._typed().unify_dictionaries()
        if self._seen.quotes:
            self._check_quotes(table)
        suspects = [label for label in self._labels if self._may_change(table[label])]
        originals = self._originals(suspects)
        for label in suspects:
            table = _replaced(table, label, choose_true_form(table[label], originals[label]))
        for label in self._labels:
            if is_text_column(table[label]):
                table = _replaced(table, label, encode_texts(table[label]))
            elif pa.types.is_null(table[label].type):
                table = _replaced(table, label, table[label].cast(pa.float64()))
        table, commas = self._with_decimal_commas(table)
        table, empty_rows = self._without_empty_rows(table)
        table, names = self._named(table)
        whole = {n: table[n].to_numpy() for n in table.column_names if is_whole_column(table[n])}
        notes = (*commas, *empty_rows, *self._comment_notes(), *names, *row_number_notes(whole))
        return table, (*notes, *total_row_notes(table))

    def _originals(self, labels: list[str]) -> Any:
        """The cells of some columns as they are in the file."""
        import pyarrow as pa

        return self._parsed({label: pa.string() for label in labels}, labels) if labels else {}

    def _typed(self) -> Any:
        """All rows, each column of the type that its first rows suggest, or another if needed."""
        import pyarrow as pa

        types = {label: self._type(int(label)) for label in self._labels}
        texts = {label: kind for label, kind in types.items() if kind == coded_text_type()}
        certain = {label: kind for label, kind in types.items() if kind is not None}
        try:
            # If all types are given, Arrow needs half the memory.
            return self._parsed(certain)
        except pa.ArrowInvalid as error:
            if "conversion error" not in str(error):
                raise
            return self._parsed(texts)

    def _type(self, number: int) -> Any:
        """The type that a column's first rows suggest; None if they are empty."""
        import pyarrow as pa

        cells = self._sample[number]
        if not cells:
            return None
        if all(cell in TRUTH_VALUES for cell in cells):
            return pa.bool_()
        if any(
            not NUMBER.fullmatch(cell) or (cell[0] == "0" and cell[1:2].isdecimal())
            for cell in cells
        ):
            return coded_text_type()
        return pa.int64() if all(map(_WHOLE_NUMBER.fullmatch, cells)) else pa.float64()

    def _parsed(self, types: dict[str, Any], only: list[str] | None = None) -> Any:
        """Raises DatasetError for rows that are too long or too short."""
        import pyarrow as pa

        try:
            return self._by_arrow(types, only)
        except pa.ArrowInvalid as error:
            if "straddling" in str(error) or "block boundaries" in str(error):
                list(self._cleaned())  # raises for quotes that do not close
                raise DatasetError(
                    f"{self._source}: a row is longer than {_BLOCK_BYTES // 2**20} MiB"
                ) from error
            if "Empty CSV" in str(error):  # nothing below the header
                return pa.table({label: pa.nulls(0) for label in only or self._labels})
            if self._clean or "conversion error" in str(error):
                raise
            # Comments and blank lines between rows are left out; other problems are reported.
            self._clean = True
            return self._parsed(types, only)

    def _by_arrow(self, types: dict[str, Any], only: list[str] | None) -> Any:
        from pyarrow import csv as arrow

        has_quotes = self._clean or self._seen.quotes > 0
        return arrow.read_csv(
            self._opened(),
            read_options=arrow.ReadOptions(
                block_size=_BLOCK_BYTES,
                column_names=self._labels,
                skip_rows=0 if self._clean else self._dialect.skip,
            ),
            parse_options=arrow.ParseOptions(
                delimiter=self._dialect.separator,
                quote_char='"' if has_quotes else False,
                newlines_in_values=has_quotes,
            ),
            convert_options=arrow.ConvertOptions(
                column_types=types,
                include_columns=only,
                null_values=_BLANKS,
                strings_can_be_null=True,
                true_values=[text for text, value in TRUTH_VALUES.items() if value],
                false_values=[text for text, value in TRUTH_VALUES.items() if not value],
            ),
        )

    def _opened(self) -> Any:
        if self._clean:
            return io.BufferedReader(BlockStream(self._cleaned()))
        if self._file.is_plain:
            return self._source
        return io.BufferedReader(BlockStream(self._file.blocks()))

    def _records(self, strict: bool = False) -> Iterator[Record]:
        try:
            for record in read_records(self._file.lines(), self._dialect.separator, strict):
                if record.last > self._dialect.skip:
                    yield record
        except DatasetError as error:
            raise DatasetError(f"{self._source}: {error}") from error

    def _cleaned(self) -> Iterator[bytes]:
        """The rows below the header, rewritten without blanks before cells, comments and blank
        lines. Raises DatasetError for rows of different lengths."""
        width = len(self._dialect.names)
        first, others, self._comments = None, 0, 0
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self._dialect.separator, lineterminator="\n")
        for number, record in enumerate(self._records()):
            if len(record.cells) != width:
                if record.is_blank or record.is_comment:
                    self._comments += record.is_comment
                    continue
                first, others = first or record, others + (first is not None)
            elif first is None:
                writer.writerow(record.cells)
            if number % _ROWS_AT_ONCE == 0:
                yield text.getvalue().encode()
                text.seek(0)
                text.truncate()
        if first is not None:
            raise self._unlike(first, others)
        yield text.getvalue().encode()

    def _unlike(self, record: Record, others: int) -> DatasetError:
        cells = len(record.cells)
        how_many = f"{cells} cell{'s' * (cells != 1)}"
        more = f" (another length, too: {others} more)" if others else ""
        return DatasetError(
            f"{self._source}: line {record.first} has {how_many}, the header "
            f"{len(self._dialect.names)}{more}; a cell that holds the separator must stand in "
            "quotes, and an empty cell must have its separator"
        )

    def _check_quotes(self, table: Any) -> None:
        """Raises DatasetError for a quote that is never closed: its cell would hold all lines below
        it."""
        import pyarrow.compute as pc

        texts = [table[label] for label in self._labels if is_text_column(table[label])]
        values = [chunk for text in texts for chunk in different_texts(text)]
        breaks = any(pc.any(pc.match_substring_regex(each, r"[\n\r]")).as_py() for each in values)
        if breaks or self._seen.quotes % 2:
            for _ in self._records(strict=True):
                pass

    def _may_change(self, column: Any) -> bool:
        """Whether a typed column may have lost something of its cells."""
        import pyarrow as pa

        kind = column.type
        if is_text_column(column) or pa.types.is_null(kind):
            return False
        if pa.types.is_boolean(kind):
            return bool(column.null_count)
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return True  # dates, times and bytes
        if self._seen.zeros:
            return True
        if pa.types.is_integer(kind):
            return bool(column.null_count) and exceeds(column, EXACT_LIMIT)
        return exceeds(column, EXACT_LIMIT)

    def _with_decimal_commas(self, table: Any) -> tuple[Any, tuple[str, ...]]:
        """The table with columns of decimal commas as numbers. A comma before three digits may
        separate thousands, unless semicolons separate the cells and no other column has decimal
        points."""
        with_commas = []
        is_certain = self._dialect.separator == ";" and not self._has_decimal_points(table)
        for label in self._labels:
            if self._has_commas(int(label)):
                column = parse_decimal_commas(table[label], is_certain)
                if column is not None:
                    table = _replaced(table, label, column)
                    with_commas.append(label)
        if not with_commas:
            return table, ()
        notes = [f"decimal comma in {self._listed(with_commas)}"]
        dotted = [label for label in self._labels if self._has_dot_thousands(int(label))]
        originals, changed = self._originals(dotted), []
        for label in dotted:
            column = parse_dot_thousands(originals[label])
            if column is not None:
                table = _replaced(table, label, column)
                changed.append(label)
        if changed:
            notes.append(f"dots are thousands marks in {self._listed(changed)}")
        return table, tuple(notes)

    def _has_decimal_points(self, table: Any) -> bool:
        import pyarrow as pa

        return any(
            pa.types.is_floating(table[label].type)
            and any(re.search(_CERTAIN_POINT, cell) for cell in self._sample[int(label)])
            for label in self._labels
        )

    def _has_commas(self, number: int) -> bool:
        cells = self._sample[number]
        return any("," in cell for cell in cells) and all(re.match(COMMA_NUMBER, c) for c in cells)

    def _has_dot_thousands(self, number: int) -> bool:
        cells = self._sample[number]
        return any("." in cell for cell in cells) and all(re.match(DOT_THOUSANDS, c) for c in cells)

    def _listed(self, labels: list[str]) -> str:
        names = self._dialect.names
        return join_names(names[int(label)] or f"column {int(label) + 1}" for label in labels)

    def _comment_notes(self) -> tuple[str, ...]:
        if not self._comments:
            return ()
        lines = "1 line" if self._comments == 1 else f"{self._comments} lines"
        return (f"{lines} between the rows, beginning with '#', left out",)

    def _without_empty_rows(self, table: Any) -> tuple[Any, tuple[str, ...]]:
        import pyarrow.compute as pc

        if len(self._labels) < 2 or not all(table[label].null_count for label in self._labels):
            return table, ()
        empty = pc.is_null(table["0"])
        for label in self._labels[1:]:
            empty = pc.and_(empty, pc.is_null(table[label]))
        count = pc.sum(empty).as_py() or 0
        if not count or count == len(table):
            return table, ()
        first = pc.index(empty, True).as_py() + 1
        rows = "1 row without any value is" if count == 1 else f"{count} rows without any value are"
        return table.filter(pc.invert(empty)), (f"{rows} left out (first: row {first})",)

    def _named(self, table: Any) -> tuple[Any, tuple[str, ...]]:
        """The table with the names of its columns, without empty and index columns, and notes."""
        names, drop, notes = list(self._dialect.names), set(), []
        for number, name in enumerate(names):
            column = table[str(number)]
            if not name and len(table) and column.null_count == len(table):
                drop.add(number)
                notes.append(f"column {number + 1}, without a name or values, is left out")
            elif number == 0 and is_whole_column(column) and is_index(name, column.to_numpy()):
                drop.add(number)
                called = f" ({name})" if name else ""
                notes.append(f"the first column{called}, an index of the rows, is left out")
            elif not name:
                names[number] = find_free_name(f"column {number + 1}", names)
                notes.append(f"column {number + 1} has no name; it is called {names[number]!r}")
        numbers = [number for number in range(len(names)) if number not in drop]
        table = table.select([str(number) for number in numbers])
        return table.rename_columns([names[number] for number in numbers]), tuple(notes)


_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
READER = table_reader(
    *_SUFFIXES,
    *(f"{suffix}.gz" for suffix in _SUFFIXES),
    example="file.csv:target (also .tsv, .txt, .csv.gz)",
    read_file=read_delimited,
)
