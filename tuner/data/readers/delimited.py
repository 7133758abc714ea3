"""CSV files and similar ones, read without losing anything of a cell.

Arrow splits the file and recognises numbers. The scan and the checks here find what Arrow would
change: leading zeros, long ids, dates, words for missing values. Such columns stay text.
"""

from pathlib import Path
from typing import Any

from tuner.data.raw import dataset_errors
from tuner.data.readers.arrow_columns import (
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
from tuner.data.readers.delimited_file import BLOCK_BYTES, DelimitedFile
from tuner.data.readers.reader import TableFile, table_reader
from tuner.errors import DatasetError
from tuner.preparation.cells import is_index, row_number_notes


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
        file = DelimitedFile.open(path)
        table, notes = _DelimitedTable(file).read()
        after = path.stat()
        if (state.st_size, state.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise DatasetError(f"{path}: changed while it was read; try again")
        names, columns = table.column_names, table.columns
        del table
        frame = to_pandas(names, columns)
        pa.default_memory_pool().release_unused()  # a third of the process' memory
    return TableFile(frame, (*file.notes, *notes), file.hint)


def _replaced(table: Any, label: str, column: Any) -> Any:
    return table if column is table[label] else table.set_column(int(label), label, column)


class _DelimitedTable:
    """A file as an Arrow table. Its columns are called 0, 1, … until the end."""

    def __init__(self, file: DelimitedFile) -> None:
        self._file, self._labels, self._seen = file, file.labels, file.seen
        self._clean = file.seen.loose_quotes

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

        types = {label: self._file.first_type(label) for label in self._labels}
        texts = {label: kind for label, kind in types.items() if kind == coded_text_type()}
        certain = {label: kind for label, kind in types.items() if kind is not None}
        try:
            # If all types are given, Arrow needs half the memory.
            return self._parsed(certain)
        except pa.ArrowInvalid as error:
            if "conversion error" not in str(error):
                raise
            return self._parsed(texts)

    def _parsed(self, types: dict[str, Any], only: list[str] | None = None) -> Any:
        """Raises DatasetError for rows that are too long or too short."""
        import pyarrow as pa

        try:
            stream = self._file.open_cleaned() if self._clean else self._file.file.open_whole()
            has_quotes = self._clean or self._seen.quotes > 0
            skip = 0 if self._clean else self._file.dialect.skip
            return self._file.parse(stream, types, only, has_quotes, skip)
        except pa.ArrowInvalid as error:
            if "straddling" in str(error) or "block boundaries" in str(error):
                list(self._file.cleaned())  # raises for quotes that do not close
                raise DatasetError(
                    f"{self._file.source}: a row is longer than {BLOCK_BYTES // 2**20} MiB"
                ) from error
            if "Empty CSV" in str(error):  # nothing below the header
                return pa.table({label: pa.nulls(0) for label in only or self._labels})
            if self._clean or "conversion error" in str(error):
                raise
            # Comments and blank lines between rows are left out; other problems are reported.
            self._clean = True
            return self._parsed(types, only)

    def _check_quotes(self, table: Any) -> None:
        """Raises DatasetError for a quote that is never closed."""
        import pyarrow.compute as pc

        texts = [table[label] for label in self._labels if is_text_column(table[label])]
        values = [chunk for text in texts for chunk in different_texts(text)]
        breaks = any(pc.any(pc.match_substring_regex(each, r"[\n\r]")).as_py() for each in values)
        if breaks or self._seen.quotes % 2:
            self._file.check_quotes()

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
        import pyarrow as pa

        with_commas = []
        floating = [n for n in self._labels if pa.types.is_floating(table[n].type)]
        is_certain = self._file.commas_are_decimal(floating)
        for label in self._labels:
            if self._file.has_commas(label):
                column = parse_decimal_commas(table[label], is_certain)
                if column is not None:
                    table = _replaced(table, label, column)
                    with_commas.append(label)
        if not with_commas:
            return table, ()
        notes = [f"decimal comma in {self._file.listed(with_commas)}"]
        dotted = [label for label in self._labels if self._file.has_dot_thousands(label)]
        originals, changed = self._originals(dotted), []
        for label in dotted:
            column = parse_dot_thousands(originals[label])
            if column is not None:
                table = _replaced(table, label, column)
                changed.append(label)
        if changed:
            notes.append(f"dots are thousands marks in {self._file.listed(changed)}")
        return table, tuple(notes)

    def _comment_notes(self) -> tuple[str, ...]:
        comments = self._file.comments
        if not comments:
            return ()
        lines = "1 line" if comments == 1 else f"{comments} lines"
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
        names, drop, notes = list(self._file.dialect.names), set(), []
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
