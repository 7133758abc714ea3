"""`tuner data`: look at data sets."""

from typing import Annotated, Any

import typer

from tuner.cli.app import Json, new_typer, settings_of
from tuner.cli.data_options import DATA_HELP, takes_data_options

app = new_typer("Look at data sets.")


@app.command("describe")
@takes_data_options(after="source")
def describe_dataset(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help=DATA_HELP, metavar="SOURCE")],
    as_json: Json = False,
    **data_options: Any,
) -> None:
    """Print what a data set holds, and how it is split and scaled.

    Example: tuner data describe passengers.csv:survived
    """
    from tuner.cli.output import say, show_facts, show_rows
    from tuner.data import describe_dataset, load_dataset, tabulate_columns
    from tuner.manage.wanted_study import data_spec
    from tuner.values import join_names

    dataset = load_dataset(data_spec(source=source, **data_options), settings_of(context))
    facts = describe_dataset(dataset)
    if as_json:
        show_facts(facts, as_json)
        return
    del facts["columns"]
    facts["features"] = join_names(dataset.features) if dataset.features else None
    notes = facts.pop("notes")
    show_facts(facts, as_json)
    width = max(map(len, facts))
    for number, note in enumerate(notes):
        say(f"{'' if number else 'notes':<{width}}  {note}")
    show_rows(tabulate_columns(dataset.reports), as_json)
