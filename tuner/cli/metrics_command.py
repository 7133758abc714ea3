"""`tuner metrics`."""

from typing import Annotated, Literal

import typer

from tuner.cli.app import Json


def metrics(
    task: Annotated[
        Literal["classes", "binary", "regression", "multilabel"] | None,
        typer.Option(help="Only the metrics of this task.", show_default="all tasks"),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the metrics that can be an objective, or be recorded.

    Example: tuner metrics --task binary

    Choose the objective with tuner study create --metric NAME, and record others with --record
    NAME. Both also take a function of your own, my_file.py:function, which is given the true
    targets and the predictions, and returns a number.
    """
    from tuner.cli.output import print_json, show_rows
    from tuner.study.metrics import metric_entries

    rows = [entry._asdict() for entry in metric_entries(task)]
    if as_json:
        print_json(rows)
        return
    for tasks in dict.fromkeys(row["tasks"] for row in rows):
        group = [row for row in rows if row["tasks"] == tasks]
        columns = [name for name in group[0] if name != "tasks"]
        show_rows([{name: row[name] for name in columns} for row in group], False, tasks)
