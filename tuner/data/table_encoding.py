"""Tables as one float32 matrix.

What each column becomes is learnt from the training split alone and kept as a `Column`, so that
later rows are encoded in the same way.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.column_threads import map_columns
from tuner.data.rows import Indices, Rows
from tuner.preparation.cells import Cells
from tuner.preparation.encoding import DATE_PARTS, Column, column_writer, gaps_in_words, words_of
from tuner.preparation.kinds import TextForm
from tuner.preparation.text_columns import ReadColumn
from tuner.preparation.text_words import inverse_frequencies, learn_vocabulary

# Of a column of texts: so many of the most common words are features.
MOST_WORDS = 256
# Of tokens and tf_idf: so many words at most, unless the user says how many. tf_idf has a feature
# for each.
_VOCABULARY: dict[TextForm, int] = {"words": MOST_WORDS, "tokens": 10_000, "tf_idf": 2_000}
# Texts are cut where so large a share of the training rows has ended, and at so many words.
_WHOLE_TEXTS = 0.95
_MOST_STEPS = 512
_ROWS_AT_ONCE = 8192
_Block = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TextRule:
    """What texts become. `vocabulary`: how many words are known at most; `steps`: how many tokens a
    text becomes. None: by the form, and by the training rows."""

    form: TextForm = "words"
    vocabulary: int | None = None
    steps: int | None = None

    @property
    def most_words(self) -> int:
        return _VOCABULARY[self.form] if self.vocabulary is None else self.vocabulary


AS_WORDS = TextRule()


@dataclass(frozen=True, eq=False)
class Table:
    """Some rows of a table, by ascending number; all rows if `numbers` is None."""

    cells: Mapping[str, Cells]
    numbers: Indices | None = None

    def __len__(self) -> int:
        return len(next(iter(self.cells.values()))) if self.numbers is None else len(self.numbers)

    def column(self, name: str) -> Cells:
        """The cells of these rows."""
        cells = self.cells[name]
        if self.numbers is None:
            return cells
        return Cells(cells.values[self.numbers], cells.form, cells.texts)

    def some(self, name: str, rows: Indices) -> npt.NDArray[Any]:
        """The values of some of these rows."""
        return self.cells[name].values[rows if self.numbers is None else self.numbers[rows]]

    def gaps(self, name: str) -> int:
        """How many of these rows miss a value in that column. If no row does, nothing is copied."""
        gaps = self.cells[name].gaps()
        if not gaps.any():
            return 0
        return int(np.count_nonzero(gaps if self.numbers is None else gaps[self.numbers]))

    def rows(self, start: int, stop: int) -> "slice | Indices":
        return slice(start, stop) if self.numbers is None else self.numbers[start:stop]


class TableRows(Rows):
    """The matrix of a table, float32, encoded by columns that were learnt before."""

    def __init__(self, table: Table, columns: Sequence[Column]) -> None:
        widths = [len(column.features) for column in columns]
        super().__init__((len(table), sum(widths)), np.dtype(np.float32))
        self._table = table
        self._writers = [column_writer(column, table.cells[column.name]) for column in columns]
        self._starts = np.cumsum([0, *widths]).tolist()

    def read(self, start: int, stop: int) -> _Block:
        block = np.zeros((stop - start, self.shape[1]), np.float32)
        # Column by column, as many rows at once as fit into the processor's cache: half the time.
        for begin in range(start, stop, _ROWS_AT_ONCE):
            end = min(begin + _ROWS_AT_ONCE, stop)
            rows, part = self._table.rows(begin, end), block[begin - start : end - start]
            for number, write in enumerate(self._writers):
                write(rows, part[:, self._starts[number] : self._starts[number + 1]])
        return block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("rows of a table cannot be an array without a copy")
        whole = self.read(0, len(self))
        return whole if dtype is None else whole.astype(dtype, copy=False)


def learn_columns(
    table: Table, columns: Sequence[ReadColumn], texts: TextRule = AS_WORDS
) -> tuple[Column, ...]:
    """How each column is encoded, by the training rows."""
    learnt = map_columns(lambda c: _learn(table.column(c.name), c, texts), columns, len(table))
    return tuple(learnt)


def _learn(cells: Cells, read: ReadColumn, texts: TextRule) -> Column:
    if read.kind == "number":
        return Column(read.name, _median(cells), format=read.format)
    if read.kind == "date":
        return _learn_date(cells, read)
    if read.kind == "text":
        return _learn_text(cells, read, texts)
    held = sorted(cells.texts[code] for code in np.flatnonzero(cells.counts()))
    return Column(
        read.name,
        categories=tuple(held),
        missing=bool(cells.gaps().any()),
        kind="category",
        format=read.format,
    )


def _median(cells: Cells) -> float:
    """The median of the values without gaps; 0 if there are none."""
    gaps = cells.gaps()
    values = cells.values[~gaps] if gaps.any() else cells.values
    present = values.astype(np.float64)
    if not len(present):
        return 0.0
    # The result of np.median in a third of its time: one partition instead of two.
    half = len(present) // 2
    present.partition(half)
    return float(present[half] if len(present) % 2 else (present[:half].max() + present[half]) / 2)


def _learn_date(cells: Cells, read: ReadColumn) -> Column:
    dates = cells.values[~cells.gaps()].astype(np.float64)
    different = np.unique(dates)
    parts = tuple(
        name for name, part in DATE_PARTS.items() if len(different) and np.ptp(part(different)) > 0
    )
    return Column(
        read.name,
        fill=float(np.median(dates)) if len(dates) else 0.0,
        kind="date",
        parts=parts,
        start=float(different[0]) if len(different) else 0.0,
        format=read.format,
    )


def _learn_text(cells: Cells, read: ReadColumn, rule: TextRule) -> Column:
    if rule.form == "words":
        words = _common_words(cells, rule.most_words)
        return Column(read.name, categories=words, kind="text", format=read.format)
    counts = cells.counts()
    words, rows, lengths = learn_vocabulary(cells.texts, counts.tolist(), rule.most_words)
    column = Column(
        read.name, categories=words, kind="text", format=read.format, text_form=rule.form
    )
    if rule.form == "tf_idf":
        return replace(column, idf=inverse_frequencies(rows, len(cells)))
    return replace(column, steps=rule.steps or _common_length(lengths, counts))


def _common_length(lengths: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> int:
    """A length that most texts do not exceed, at least 1."""
    held = counts > 0
    if not held.any():
        return 1
    order = np.argsort(lengths[held])
    shares = np.cumsum(counts[held][order]) / counts[held].sum()
    length = lengths[held][order][np.searchsorted(shares, _WHOLE_TEXTS)]
    return max(1, min(_MOST_STEPS, int(length)))


def _common_words(cells: Cells, most: int) -> tuple[str, ...]:
    """The most common words by rows, at most MOST_WORDS, in alphabetical order."""
    rows: Counter[str] = Counter()
    for text, count in zip(cells.texts, cells.counts().tolist(), strict=True):
        if count:
            for word in words_of(text):
                rows[word] += count
    common = sorted(rows, key=lambda word: (-rows[word], word))[:most]
    return tuple(sorted(common))


def encoding_notes(table: Table, columns: Sequence[Column], part: str) -> list[str]:
    """What happened to missing and unseen values of a part, a line for each column."""
    lines = []
    for column in columns:
        gaps = table.gaps(column.name)
        if gaps:
            lines.append(gaps_in_words(part, column, gaps))
        if column.kind == "category":
            seen = set(column.categories or ())
            texts = table.cells[column.name].texts
            is_new = np.array([*(text not in seen for text in texts), False], np.bool_)
            unseen = int(is_new[table.column(column.name).values].sum()) if is_new.any() else 0
            if unseen:
                lines.append(f"{part}: {column.name}: {unseen} of unseen categories, all zeros")
    return lines
