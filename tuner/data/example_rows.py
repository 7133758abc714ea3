"""The first training rows of a table as they were given: examples of what a network takes."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.rows import Indices
from tuner.preparation.cells import text_of

if TYPE_CHECKING:
    import pandas as pd

# Values by column, as JSON takes them; None for a gap.
ExampleRows = dict[str, list[Any]]

_MOST_ROWS = 5


def example_rows(
    frame: "pd.DataFrame", columns: Sequence[str], rows: Indices | None = None
) -> ExampleRows:
    """Up to 5 rows, the first of `rows` or of all."""
    first = slice(_MOST_ROWS) if rows is None else rows[:_MOST_ROWS]
    taken = frame[list(columns)].iloc[first]
    return {name: [_for_json(value) for value in taken[name].tolist()] for name in columns}


def _for_json(value: Any) -> Any:
    """A cell as JSON takes it, so that it is read as the cell is."""
    import pandas as pd

    if isinstance(value, np.generic):
        value = value.item()
    if pd.isna(value):
        return None
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, pd.Timedelta):
        return value / pd.Timedelta(days=1)
    if isinstance(value, pd.Period):
        return str(value.to_timestamp())
    return str(value) if isinstance(value, date) else text_of(value)
