"""Later rows of CSV files and similar ones: read in blocks, in threads, in bounded memory.

Blocks end at the end of a row, so that Arrow reads each on its own. A cell is read as the training
reader reads it, by what its column was in training; no row is dropped.
"""

import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from tuner.data.later_tables import ChosenColumns, choose_columns, table_rows
from tuner.data.raw import dataset_errors
from tuner.data.readers.arrow_columns import (
    coded_text_type,
    encode_texts,
    find_free_name,
    is_text_column,
    parse_decimal_commas,
    parse_dot_thousands,
    to_pandas,
)
from tuner.data.readers.delimited_file import DelimitedFile
from tuner.data.readers.reader import Source
from tuner.data.row_blocks import LaterRows, RowRequest
from tuner.errors import DatasetError
from tuner.preparation.date_texts import DIGITS, UNITS
from tuner.preparation.encoding import Column
from tuner.preparation.known_columns import name_numbers
from tuner.preparation.number_texts import NumberFormat
from tuner.system.machine import scheduled_cores

if TYPE_CHECKING:
    import pandas as pd

_BLOCK_BYTES = 2**22
_LONGEST_ROW_BYTES = 2**26
_MOST_THREADS = 4
_LINE_END = re.compile(rb"\r\n|\n|\r")
_FAILED_COLUMN = re.compile(r"column #(\d+): (?:Row #\d+: )?CSV conversion error")


def open_delimited(source: Source, request: RowRequest) -> LaterRows:
    """Raises DatasetError for a file that is no text of separated values, and as
    `choose_columns`."""
    assert source.path is not None
    path = str(source.path)
    with dataset_errors(path):
        file = DelimitedFile.open(source.path)
        names = _column_names(file)
        try:
            chosen = choose_columns(names, request, path, source.selector)
        except DatasetError as error:
            raise DatasetError(f"{error}{file.hint}") from error
    return table_rows(
        lambda: _DelimitedRows(file, names, chosen, request).frames(),
        chosen,
        request,
        path,
        file.notes,
    )


def _column_names(file: DelimitedFile) -> list[str]:
    """One for each column; those without a name are called as in training, but for the first,
    which is an index unless the network takes it."""
    names = list(file.dialect.names)
    for number, name in enumerate(names):
        if not name and number:
            names[number] = find_free_name(f"column {number + 1}", names)
    return names


@dataclass
class _ColumnPlan:
    """How a column is read. `kinds`: Arrow types, the first one is tried first. `notation`: whether
    texts may be numbers with decimal commas or dots between thousands. `dots`: whether dots
    separate thousands; None until its first cells are read."""

    label: str
    kinds: list[Any]
    notation: bool = False
    may_have_dots: bool = False
    dots: bool | None = None


class _DelimitedRows:
    """The chosen columns of a file, read once, block by block."""

    def __init__(
        self, file: DelimitedFile, names: list[str], chosen: ChosenColumns, request: RowRequest
    ) -> None:
        self._file, self._source = file, file.source
        labels = dict(zip(names, file.labels, strict=True))
        learnt = {column.name: column for column in request.preparation.every_column}
        floating = [label for label in file.labels if _is_floating(file.first_type(label))]
        self._certain_commas = file.commas_are_decimal(floating)
        with_commas = any(
            file.has_decimal_commas(label, self._certain_commas) for label in file.labels
        )
        self._plans: dict[str, _ColumnPlan] = {}
        for name in chosen.names:
            plan = _ColumnPlan(labels[name], [coded_text_type()])
            takes_numbers, format_ = _expected(name, chosen, request, learnt.get(name))
            if name in chosen.index:
                plan.kinds = self._index_kinds(plan.label)
            elif takes_numbers:
                # Where training had a notation of texts, it comes before any other.
                plan.notation = format_ is None
                plan.may_have_dots = (
                    plan.notation and with_commas and file.has_dot_thousands(plan.label)
                )
                if format_ in (None, NumberFormat()) and not plan.may_have_dots:
                    plan.kinds = self._number_kinds(plan.label)
            self._plans[name] = plan
        self._index = chosen.index
        self._lock = Lock()
        self._has_checked_quotes = False

    def _number_kinds(self, label: str) -> list[Any]:
        import pyarrow as pa

        kind = self._file.first_type(label)
        if kind is None or (kind == pa.int64() and self._file.seen.zeros):
            kind = pa.float64()  # Arrow reads 0x10 as a whole number
        between = [pa.float64()] if kind == pa.int64() else []
        return [kind, *between, coded_text_type()]

    def _index_kinds(self, label: str) -> list[Any]:
        import pyarrow as pa

        is_whole = self._file.first_type(label) == pa.int64() and not self._file.seen.zeros
        return [pa.int64(), pa.string()] if is_whole else [pa.string()]

    def frames(self) -> "Iterator[pd.DataFrame]":
        """The columns, by name; the index of each frame counts the rows of the file. Raises
        DatasetError for rows of different lengths, and quotes that do not close."""
        import pandas as pd
        import pyarrow as pa

        path = self._file.file.path
        with dataset_errors(self._source):
            state = path.stat()
            if self._file.seen.quotes % 2:
                self._check_quotes()
            rows, is_clean = 0, self._file.seen.loose_quotes
            while True:
                try:
                    for table in self._tables(is_clean, rows):
                        frame = self._to_frame(table, rows)
                        frame.index = pd.RangeIndex(rows, rows + len(table))
                        rows += len(table)
                        yield frame
                    break
                except (pa.ArrowInvalid, _NoRowEnd):
                    if is_clean:
                        raise
                    # Comments and blank lines between rows are left out; others are reported.
                    is_clean = True
            after = path.stat()
            if (state.st_size, state.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise DatasetError(f"{self._source}: changed while it was read; try again")

    def _check_quotes(self) -> None:
        if not self._has_checked_quotes:
            self._has_checked_quotes = True
            self._file.check_quotes()

    def _tables(self, is_clean: bool, skip_rows: int) -> Iterator[Any]:
        """Arrow tables of the rows, in order; two blocks a thread are in memory."""
        threads = max(1, min(_MOST_THREADS, scheduled_cores()))
        waiting: deque[Future[Any]] = deque()
        blocks = self._blocks(is_clean, skip_rows)
        has_quotes = is_clean or self._file.seen.quotes > 0
        with ThreadPoolExecutor(threads, thread_name_prefix="rows") as pool:
            try:
                for block in blocks:
                    waiting.append(pool.submit(self._parse, block, has_quotes, not is_clean))
                    if len(waiting) > threads + 1:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for task in waiting:
                    task.cancel()

    def _blocks(self, is_clean: bool, skip_rows: int) -> Iterator[bytes]:
        """The rows below the header, in blocks that end with a row."""
        if is_clean:
            yield from _whole_rows(self._file.cleaned(skip_rows), b"\n", True)
            return
        file = self._file.file
        end = b"\n" if b"\n" in file.head else b"\r"
        raw = file.raw_blocks() if file.is_plain else file.blocks()
        below = _below_lines(raw, self._file.dialect.skip)
        yield from _whole_rows(below, end, self._file.seen.quotes > 0)

    def _parse(self, block: bytes, has_quotes: bool, check_lines: bool) -> Any:
        """A block's table; columns whose cells do not fit their type become more general."""
        import pyarrow as pa
        import pyarrow.compute as pc

        only = [plan.label for plan in self._plans.values()]
        plans = {plan.label: plan for plan in self._plans.values()}
        while True:
            types = {label: plan.kinds[0] for label, plan in plans.items()}
            try:
                table = self._file.parse(
                    pa.BufferReader(block), types, only, has_quotes, 0, len(block) + 1, False
                )
            except pa.ArrowInvalid as error:
                failed = _FAILED_COLUMN.search(str(error))
                if failed is None:
                    raise
                self._generalize(plans[failed[1]], types[failed[1]])
                continue
            words = [
                label
                for label in only
                if _is_floating(table[label].type) and pc.any(pc.is_nan(table[label])).as_py()
            ]
            if not words:
                break
            for label in words:  # gaps are null: NaN was a word
                self._generalize(plans[label], types[label])
        # A cell of several lines may be a quote that does not close.
        if has_quotes and check_lines and len(table) < block.count(b"\n"):
            self._check_quotes()
        return table

    def _generalize(self, plan: _ColumnPlan, failed: Any) -> None:
        """Give a column its next type, unless another block has done so."""
        with self._lock:
            if plan.kinds[0] == failed and len(plan.kinds) > 1:
                plan.kinds.pop(0)

    def _to_frame(self, table: Any, rows_before: int) -> "pd.DataFrame":
        columns = [
            self._tidy(name, plan, table[plan.label], rows_before)
            for name, plan in self._plans.items()
        ]
        return to_pandas([*self._plans], columns)

    def _tidy(self, name: str, plan: _ColumnPlan, column: Any, rows_before: int) -> Any:
        """The column as the training reader gives it."""
        import pyarrow as pa

        if name in self._index or not is_text_column(column):
            return column
        texts = encode_texts(column)
        if not plan.notation or texts.null_count == len(texts):
            return texts
        if plan.may_have_dots and plan.dots is not False:
            # With the blanks around them, as the training reader does.
            numbers = parse_dot_thousands(column.cast(pa.string()))
            if numbers is None and plan.dots:
                raise DatasetError(
                    f"{self._source}: column {name!r}: dots were thousands marks up to row "
                    f"{rows_before}; below they are not; write all its numbers in one way"
                )
            plan.dots = numbers is not None
            if numbers is not None:
                return numbers
        commas = parse_decimal_commas(texts, self._certain_commas)
        return texts if commas is None else commas


def _expected(
    name: str, chosen: ChosenColumns, request: RowRequest, column: Column | None
) -> tuple[bool, NumberFormat | None]:
    """Whether a column is read as numbers first, and how its texts were numbers in training."""
    preparation = request.preparation
    if name in chosen.targets and name not in chosen.rows:
        head = next(head for head in request.targets if name in head.target_columns)
        return head.task in ("regression", "multilabel"), head.format
    if name == chosen.target and name not in chosen.rows:
        return request.task == "regression", preparation.target_format
    if name in chosen.index:
        return False, None
    if column is None:  # of a matrix
        return True, None
    if column.kind == "number":
        return True, column.format.number
    if column.kind == "date":
        return column.format.order in (*UNITS, DIGITS), None
    # Categories and words that were numbers: 1.0 is 1.
    return name_numbers(column.categories or ()), None


def _is_floating(kind: Any) -> bool:
    import pyarrow as pa

    return kind is not None and bool(pa.types.is_floating(kind))


def _below_lines(blocks: Iterator[bytes], lines: int) -> Iterator[bytes]:
    """The bytes after so many lines."""
    head = b""
    for block in blocks:
        head += block
        ends = [match.end() for match in _LINE_END.finditer(head)]
        # A line end at the very end may be the first half of one.
        if len(ends) > lines or (len(ends) == lines and ends[-1] < len(head)):
            yield head[ends[lines - 1] :]
            yield from blocks
            return
    ends = [match.end() for match in _LINE_END.finditer(head)]
    if len(ends) >= lines:
        yield head[ends[lines - 1] :]


class _NoRowEnd(Exception):
    """No row ends in a large block: a quote stands amid a cell, as in 24" screen."""


def _whole_rows(pieces: Iterator[bytes], end: bytes, has_quotes: bool) -> Iterator[bytes]:
    """Pieces of text as blocks of whole rows. Raises _NoRowEnd."""
    gathered: list[bytes] = []
    size = 0
    for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size < _BLOCK_BYTES:
            continue
        block = b"".join(gathered)
        stop = _last_row_end(block, end, has_quotes)
        if stop:
            yield block[:stop]
        elif size > _LONGEST_ROW_BYTES:
            raise _NoRowEnd(f"a row is longer than {_LONGEST_ROW_BYTES // 2**20} MiB")
        gathered, size = [block[stop:]], size - stop
    if rest := b"".join(gathered):
        yield rest


def _last_row_end(block: bytes, end: bytes, has_quotes: bool) -> int:
    """Where the last row of a block that begins with a row ends; 0 if none does."""
    position = block.rfind(end)
    if not has_quotes:
        return position + 1
    quotes = block.count(b'"', 0, position + 1)
    while position >= 0 and quotes % 2:  # the line ends within a cell
        before = block.rfind(end, 0, position)
        quotes -= block.count(b'"', max(before, 0), position)
        position = before
    return position + 1
