"""What `tuner predict` prints or writes.

Imported inside the body of the command: `--help` needs neither pandas nor Arrow.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.cli.output import (
    complain,
    escape_controls,
    json_text,
    one_line,
    say,
    show_rows,
)
from tuner.data.prediction_files import CsvWriter, check_output, writing_predictions
from tuner.data.readers import parse_source
from tuner.models.predicting import Scoring, Summary, predict_rows
from tuner.values import clipped, format_number

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_SHOWN = 10
# With more labels than this the terminal shows the most probable ones.
_MOST_SHOWN_LABELS = 5
_TOP_SHOWN = 3
_LABELS_COUNTED = 20
