"""`tuner data`: look at data sets."""

from typing import Annotated

import typer

from tuner.cli.app import Json, new_typer, settings_of

app = new_typer("Look at data sets.")

DATA_HELP = (
    "A name (digits, fashion_mnist, mnist, …), a folder of IDX files, file.npz, "
    "file.csv:target, file.parquet:target, or my_file.py:load."
)


@app.command("describe")
def describe(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help=DATA_HELP, metavar="SOURCE")],
    task: Annotated[
        str | None, typer.Option(help="classes, binary or regression.  (default: inferred)")
    ] = None,
    as_json: Json = False,
) -> None:
    """What a data set holds, how it is split and scaled.

    Example: tuner data describe passengers.csv:survived
    """
    from tuner.cli.output import show_facts
    from tuner.data import describe, load_dataset
    from tuner.studies import data_spec

    spec = data_spec(source=source, task=task)
    show_facts(describe(load_dataset(spec, settings_of(context))), as_json)
