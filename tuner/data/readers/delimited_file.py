"""A file of separated values: how it is written, and its rows as Arrow reads them."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tuner.data.readers.arrow_columns import (
    CERTAIN_COMMA,
    COMMA_NUMBER,
    DOT_THOUSANDS,
    coded_text_type,
)
from tuner.data.readers.dialect import NUMBER, Dialect, Record, find_dialect, read_records
from tuner.data.readers.text_file import WESTERN, BlockStream, Scan, TextFile, open_text, scan_text
from tuner.errors import DatasetError
from tuner.preparation.number_texts import TRUTH_VALUES
from tuner.values import join_names

BLOCK_BYTES = 2**23
_ROWS_AT_ONCE = 5000
_BLANKS = [" " * count for count in range(33)]
_WHOLE_NUMBER = re.compile(r"-?\d{1,18}")
_CERTAIN_POINT = r"\.(\d{1,2}|\d{4,})$"

_NO_HEADER = "; its first line looks like data: if the header is missing, add one"
_NO_SEPARATOR = "; no ',', ';', tab or '|' separates cells in its first lines; save it as CSV"


class DelimitedFile:
    """Its columns are called 0, 1, …, since a file may have columns without a name.

    `comments`: how many lines between the rows `cleaned` has left out.
    """

    def __init__(self, file: TextFile, dialect: Dialect, seen: Scan) -> None:
        self.file, self.dialect, self.seen = file, dialect, seen
        self.source = str(file.path)
        self.labels = [str(number) for number in range(len(dialect.names))]
        self.comments = 0
        rows = [[cell.strip() for cell in row] for row in dialect.sample]
        # The cells of each column in the first rows, without the empty ones.
        self._sample = [
            [row[number] for row in rows if number < len(row) and row[number]]
            for number in range(len(dialect.names))
        ]

    @classmethod
    def open(cls, path: Path) -> "DelimitedFile":
        """Reads the file once, for its encoding. Raises DatasetError for a file that is no text of
        separated values."""
        file = open_text(path)
        dialect = find_dialect(file.head_text(), file.whole, str(path))
        return cls(*_scanned(file, dialect))

    @property
    def notes(self) -> tuple[str, ...]:
        western = self.file.encoding in WESTERN
        encoding = ("not UTF-8: read as Windows-1252 (Latin-1) text",) if western else ()
        return (*encoding, *self.dialect.notes)

    @property
    def hint(self) -> str:
        """The end of a message that a column is missing."""
        hint = _NO_HEADER if self.dialect.looks_like_data else ""
        return hint or (_NO_SEPARATOR if len(self.labels) == 1 else "")

    def first_type(self, label: str) -> Any:
        """The type that a column's first rows suggest; None if they are empty."""
        import pyarrow as pa

        cells = self._sample[int(label)]
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

    def parse(
        self,
        stream: Any,
        types: dict[str, Any],
        only: Sequence[str] | None = None,
        has_quotes: bool = True,
        skip: int = 0,
        block_bytes: int = BLOCK_BYTES,
        threads: bool = True,
    ) -> Any:
        """The rows of a file or stream as an Arrow table, without the first `skip` lines. Raises
        ArrowInvalid."""
        from pyarrow import csv as arrow

        return arrow.read_csv(
            stream,
            read_options=arrow.ReadOptions(
                block_size=block_bytes,
                column_names=self.labels,
                skip_rows=skip,
                use_threads=threads,
            ),
            parse_options=arrow.ParseOptions(
                delimiter=self.dialect.separator,
                quote_char='"' if has_quotes else False,
                newlines_in_values=has_quotes,
            ),
            convert_options=arrow.ConvertOptions(
                column_types=types,
                include_columns=None if only is None else list(only),
                null_values=_BLANKS,
                strings_can_be_null=True,
                true_values=[text for text, value in TRUTH_VALUES.items() if value],
                false_values=[text for text, value in TRUTH_VALUES.items() if not value],
            ),
        )

    def records(self, strict: bool = False) -> Iterator[Record]:
        """The rows below the header. Raises DatasetError for wrong quotes (if `strict`)."""
        try:
            for record in read_records(self.file.lines(), self.dialect.separator, strict):
                if record.last > self.dialect.skip:
                    yield record
        except DatasetError as error:
            raise DatasetError(f"{self.source}: {error}") from error

    def check_quotes(self) -> None:
        """Raises DatasetError for a quote that is never closed: its cell would hold all lines below
        it."""
        for _ in self.records(strict=True):
            pass

    def cleaned(self, skip: int = 0) -> Iterator[bytes]:
        """The rows below the header but for the first `skip`, rewritten without blanks before
        cells, comments and blank lines. Raises DatasetError for rows of different lengths."""
        width = len(self.labels)
        first, others, self.comments, rows = None, 0, 0, 0
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.dialect.separator, lineterminator="\n")
        for number, record in enumerate(self.records()):
            if len(record.cells) != width:
                if record.is_blank or record.is_comment:
                    self.comments += record.is_comment
                    continue
                first, others = first or record, others + (first is not None)
            elif first is None:
                rows += 1
                if rows > skip:
                    writer.writerow(record.cells)
            if number % _ROWS_AT_ONCE == 0:
                yield text.getvalue().encode()
                text.seek(0)
                text.truncate()
        if first is not None:
            raise self._unlike(first, others)
        yield text.getvalue().encode()

    def open_cleaned(self) -> Any:
        return io.BufferedReader(BlockStream(self.cleaned()))

    def _unlike(self, record: Record, others: int) -> DatasetError:
        cells = len(record.cells)
        how_many = f"{cells} cell{'s' * (cells != 1)}"
        more = f" (another length, too: {others} more)" if others else ""
        return DatasetError(
            f"{self.source}: line {record.first} has {how_many}, the header "
            f"{len(self.labels)}{more}; a cell that holds the separator must stand in "
            "quotes, and an empty cell must have its separator"
        )

    def commas_are_decimal(self, floating: Sequence[str]) -> bool:
        """Whether a comma before three digits is a decimal comma too: semicolons separate the
        cells, and none of the `floating` columns has decimal points."""
        return self.dialect.separator == ";" and not any(
            re.search(_CERTAIN_POINT, cell)
            for label in floating
            for cell in self._sample[int(label)]
        )

    def has_commas(self, label: str) -> bool:
        """Whether a column's first rows may hold decimal commas."""
        cells = self._sample[int(label)]
        return any("," in cell for cell in cells) and all(re.match(COMMA_NUMBER, c) for c in cells)

    def has_decimal_commas(self, label: str, is_certain: bool) -> bool:
        """Whether these are decimal commas, also before three digits if that `is_certain`."""
        cells = self._sample[int(label)]
        return self.has_commas(label) and (
            is_certain or any(re.search(CERTAIN_COMMA, cell) for cell in cells)
        )

    def has_dot_thousands(self, label: str) -> bool:
        """Whether the dots in a column's first rows may separate thousands."""
        cells = self._sample[int(label)]
        return any("." in cell for cell in cells) and all(re.match(DOT_THOUSANDS, c) for c in cells)

    def listed(self, labels: Sequence[str]) -> str:
        names = self.dialect.names
        return join_names(names[int(label)] or f"column {int(label) + 1}" for label in labels)


def _scanned(file: TextFile, dialect: Dialect) -> tuple[TextFile, Dialect, Scan]:
    file, seen = scan_text(file, dialect.separator)
    return file, dialect, seen
