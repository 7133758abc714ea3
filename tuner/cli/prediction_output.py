"""What `tuner predict` prints or writes.

Imported inside the body of the command: `--help` needs neither pandas nor Arrow.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.cli.output import (
    complain,
    escape_controls,
    print_json,
    print_json_rows,
    say,
    stream_rows,
)
from tuner.cli.row_progress import RowProgress
from tuner.data.prediction_files import CsvWriter
from tuner.models.predicting import Predictions, PredictionSummary, Scoring, write_predictions
from tuner.system.names import command
from tuner.values import format_number

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_SHOWN = 10
# With more labels than this, the terminal shows the most probable ones.
_MOST_LABELS_SHOWN = 5
_TOP_SHOWN = 3
_LABELS_COUNTED = 20


def print_predictions(
    scoring: Scoring, output: Path | None, top: int | None, *, strict: bool, as_json: bool
) -> None:
    """Write all predictions to `output`; without it, print all of them as JSON or into a pipe as
    CSV, or the first ones in a terminal. Then say what the rows have shown."""
    in_terminal = output is None and not as_json and sys.stdout.isatty()
    if top is None and in_terminal and len(scoring.description.labels) > _MOST_LABELS_SHOWN:
        top = _TOP_SHOWN
    predictions = Predictions(scoring, top, strict)
    for remark in _remarks(scoring):
        complain(remark)
    summary = predictions.summary
    tables = predictions.tables()
    if sys.stderr.isatty() and (in_terminal or output is not None):
        # Not beside rows that are printed: a pipe may end in the same terminal.
        tables = _with_progress(tables, scoring)
    if output is not None:
        write_predictions(tables, output)
        if as_json:
            _print_facts(summary, scoring, output)
        else:
            say(f"wrote {output}: {summary.rows:,} rows")
            _print_summary(summary)
    elif as_json:
        print_json_rows(row for table in tables for row in _records(table))
    elif in_terminal:
        _print_first(tables, summary)
        _print_summary(summary)
    else:
        _print_csv(tables)
    for note in _notes(summary):
        complain(note)


def _remarks(scoring: Scoring) -> list[str]:
    """What is known before the rows are read."""
    target = scoring.rows.target
    compare = command("evaluate", "MODEL", scoring.rows.source)
    ignored = f"the data have the target, {target}: it is ignored; to compare with it: {compare}"
    return [*scoring.remarks, *scoring.rows.notes, *([] if target is None else [ignored])]


def _with_progress(tables: "Iterator[pa.Table]", scoring: Scoring) -> "Iterator[pa.Table]":
    """The tables; meanwhile a line on stderr says how far it is."""
    rows = 0
    with RowProgress(scoring.rows.count) as progress:
        for table in tables:
            rows += len(table)
            progress.count(rows)
            yield table


def _records(table: "pa.Table") -> Iterable[Mapping[str, Any]]:
    """The rows as Python values. A float32 becomes the shortest number that is read as it."""
    import pyarrow as pa

    for number, field in enumerate(table.schema):
        if pa.types.is_float32(field.type):
            digits = table.column(number).cast(pa.string())
            table = table.set_column(number, field.name, digits.cast(pa.float64()))
    return table.to_pylist()


def _print_csv(tables: "Iterable[pa.Table]") -> None:
    writer = CsvWriter(sys.stdout.buffer)
    for table in tables:
        writer.write(_without_controls(table))
    writer.close()


def _without_controls(table: "pa.Table") -> "pa.Table":
    """The table with control characters in texts written out: a pipe may end in a terminal."""
    import pyarrow as pa

    for number, field in enumerate(table.schema):
        texts = table.column(number)
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            different = [text for text in texts.unique().to_pylist() if text is not None]
            if any(escape_controls(text) != text for text in different):
                shown = [
                    text if text is None else escape_controls(text) for text in texts.to_pylist()
                ]
                table = table.set_column(number, field.name, pa.array(shown, pa.string()))
    return table


def _print_first(tables: "Iterable[pa.Table]", summary: PredictionSummary) -> None:
    """Print the first rows. Those of data without an index column are numbered, from 1 on."""
    rows: list[Mapping[str, Any]] = []
    for table in tables:
        if len(rows) < _ROWS_SHOWN:
            rows += _records(table.slice(0, _ROWS_SHOWN - len(rows)))
    if not summary.has_index:
        rows = [{"row": number, **row} for number, row in enumerate(rows, start=1)]
    stream_rows(rows)
    if summary.rows > len(rows):
        say(f"the first {len(rows)} of {summary.rows:,} rows; all of them: --output FILE")


def _print_summary(summary: PredictionSummary) -> None:
    if summary.mean is not None:
        say(
            f"predicted: mean {format_number(summary.mean)}, from {format_number(summary.least)} "
            f"to {format_number(summary.greatest)}"
        )
    elif summary.labels:
        is_short = len(summary.labels) <= _LABELS_COUNTED
        given = {label: count for label, count in summary.labels.items() if is_short or count}
        most = sorted(given.items(), key=lambda item: -item[1])[:_LABELS_COUNTED]
        counts = ", ".join(f"{label} ({count:,})" for label, count in most)
        more = len(given) - len(most)
        say(f"predicted: {counts}" + (f", and {more} labels more" if more else ""))


def _print_facts(summary: PredictionSummary, scoring: Scoring, output: Path) -> None:
    facts = {
        "network": scoring.where,
        "data": scoring.rows.source,
        "file": str(output),
        "rows": summary.rows,
        "rows_without_prediction": summary.not_finite,
        "notes": [*_remarks(scoring), *_notes(summary)],
    }
    if summary.labels:
        facts["labels"] = summary.labels
    if summary.mean is not None:
        facts |= {"mean": summary.mean, "least": summary.least, "greatest": summary.greatest}
    print_json(facts)


def _notes(summary: PredictionSummary) -> list[str]:
    notes = summary.findings.lines()
    if summary.not_finite:
        notes.append(
            f"{summary.not_finite:,} of {summary.rows:,} rows have no prediction: for them the "
            "network gives no finite number"
        )
    return notes
