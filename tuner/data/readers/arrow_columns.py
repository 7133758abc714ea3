"""Columns of Arrow tables: typed columns that lose something of their cells, texts as codes, and
numbers with decimal commas."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# Beyond this limit, float64 does not hold every whole number.
EXACT_LIMIT = 2**53
_LONG_WHOLE_NUMBER = r"^\s*[+-]?\d{16,}\s*$"
_ZERO_IN_FRONT = r"^\s*[+-]?0[\dxX]"  # Arrow reads 0x10 as a number; here it is none
COMMA_NUMBER = r"^[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?$"
CERTAIN_COMMA = r"^[+-]?0?,|,\d{0,2}([eE].*)?$|,\d{4}"
DOT_THOUSANDS = r"^[+-]?([1-9]\d{0,2}(\.\d{3})+|\d{1,3})$"
_TOTALS = {"total", "totals", "grand total", "sum", "sum total", "gesamt", "summe", "totaal"}


def to_pandas(names: list[str], columns: list[Any]) -> "pd.DataFrame":
    """Empties the list `columns`, so that no more than one column is in memory twice."""
    import pandas as pd
    import pyarrow as pa

    count = len(columns[0])
    series = {}
    columns.reverse()
    for name in names:
        column = columns.pop()
        if pa.types.is_dictionary(column.type):
            series[name] = pd.Series(pd.array(column, dtype=pd.ArrowDtype(column.type)))
        else:
            series[name] = column.to_pandas()
    return pd.DataFrame(series, index=pd.RangeIndex(count), copy=False)


def is_whole_column(column: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(column.type)) and not column.null_count


def find_free_name(wanted: str, names: Sequence[str]) -> str:
    while wanted in names:
        wanted += "_"
    return wanted


def exceeds(column: Any, limit: int) -> bool:
    """Whether numbers lie beyond -limit and limit, or a float is NaN (gaps are null, not NaN)."""
    for chunk in column.chunks:
        values = (chunk.drop_null() if chunk.null_count else chunk).to_numpy()
        # NaN makes both comparisons false.
        if len(values) and not (values.min() >= -limit and values.max() <= limit):
            return True
    return False


def choose_true_form(typed: Any, original: Any) -> Any:
    """The column as numbers; as text if numbers would lose something of the cells."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_whole, is_float = pa.types.is_integer(typed.type), pa.types.is_floating(typed.type)
    if not (is_whole or is_float) or pc.any(_matches(original, _ZERO_IN_FRONT)).as_py():
        return original
    if is_whole:
        return original if typed.null_count and exceeds(typed, EXACT_LIMIT) else typed
    if pc.any(pc.is_nan(typed)).as_py():  # a word: gaps are null
        return original
    if exceeds(typed, EXACT_LIMIT):
        long = original.filter(_matches(original, _LONG_WHOLE_NUMBER))
        if any(
            int(cell) != int(float(cell)) for chunk in long.chunks for cell in chunk.to_pylist()
        ):
            return original
    return typed


def _matches(column: Any, pattern: str) -> Any:
    import pyarrow.compute as pc

    return pc.match_substring_regex(column, pattern)


def coded_text_type() -> Any:
    """A dictionary of texts: each different text is held once, and its number for each row."""
    import pyarrow as pa

    return pa.dictionary(pa.int32(), pa.string())


def is_text_column(column: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(column.type) or pa.types.is_dictionary(column.type))


def different_texts(text: Any) -> list[Any]:
    """Arrays of the different texts, or of all texts if they have no dictionary."""
    import pyarrow as pa

    is_coded = pa.types.is_dictionary(text.type)
    return [chunk.dictionary if is_coded else chunk for chunk in text.chunks]


def encode_texts(column: Any) -> Any:
    """Texts as a dictionary, without the blanks around them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type):
        column = pc.dictionary_encode(column)
    codes = column.unify_dictionaries().combine_chunks()
    bare = pc.utf8_trim_whitespace(codes.dictionary)
    if not bare.equals(codes.dictionary):
        texts = bare.take(codes.indices)
        codes = pc.dictionary_encode(pc.if_else(pc.equal(texts, ""), None, texts))
    return pa.chunked_array([codes])


def parse_decimal_commas(column: Any, is_certain: bool) -> Any | None:
    """Text of numbers with decimal commas as float64; None for anything else. `is_certain`: commas
    before three digits are decimal commas too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = column.cast(pa.string())
    if not pc.all(_matches(column, COMMA_NUMBER)).as_py():
        return None
    if pc.any(_matches(column, _ZERO_IN_FRONT)).as_py():
        return None
    if not is_certain and not pc.any(_matches(column, CERTAIN_COMMA)).as_py():
        return None
    return pc.cast(pc.replace_substring(column, ",", "."), pa.float64())


def parse_dot_thousands(column: Any) -> Any | None:
    """Text of whole numbers with dots before each three digits as int64; None for anything else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.all(_matches(column, DOT_THOUSANDS)).as_py():
        return None
    return pc.cast(pc.replace_substring(column, ".", ""), pa.int64())


def total_row_notes(table: Any) -> tuple[str, ...]:
    """A line on a last row that sums up the others."""
    if not len(table):
        return ()
    last = [table[name][len(table) - 1].as_py() for name in table.column_names]
    words = [cell for cell in last if isinstance(cell, str) and cell.strip(": ").lower() in _TOTALS]
    if not words:
        return ()
    return (f"the last row looks like a sum of the others ({words[0]!r}); if so, remove it",)
