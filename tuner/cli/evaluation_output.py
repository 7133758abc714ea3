"""What `tuner evaluate` prints.

Imported inside the body of the command: `--help` needs no NumPy.
"""

from tuner.cli.output import complain, print_json, say, stream_rows, terminal_width
from tuner.models.evaluating import DataEvaluation
from tuner.reports.evaluation_tables import evaluation_tables


def print_evaluation(evaluated: DataEvaluation, as_json: bool) -> None:
    """Print the tables, or all figures as JSON, then what is to be said of them."""
    if as_json:
        print_json(evaluated.to_json())
    else:
        rows = evaluated.evaluation.rows
        target = "" if evaluated.target is None else f", target {evaluated.target}"
        say(f"{evaluated.network} on {evaluated.data}: {rows:,} row{'s' * (rows != 1)}{target}\n")
        for table in evaluation_tables(evaluated.evaluation, terminal_width()):
            say(table.title)
            stream_rows(table.rows, table.names)
            if table.foot:
                say(f"{table.foot}\n")
    for note in evaluated.notes:
        complain(note)
