"""`tuner study import`."""

from typing import Annotated

import typer

from tuner.cli.app import Json, flag
from tuner.cli.data_options import Pairs


def import_trials(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="Where the trials are: the URL of an Optuna database, a KerasTuner folder, an "
            "MLflow tracking URI, or a CSV file of results.",
            metavar="SOURCE",
            show_default=False,
        ),
    ],
    into: Annotated[
        str | None,
        typer.Option(
            help="The study that gets them.", metavar="STUDY", show_default="the newest search"
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            help="Which study of an Optuna database.",
            metavar="NAME",
            show_default="the only one",
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            help="Which experiment of MLflow: SOURCE is a tracking URI then.",
            metavar="NAME",
            show_default="SOURCE is none of MLflow",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="What the source calls the study's objective.",
            metavar="NAME",
            show_default="the same",
        ),
    ] = None,
    rename: Annotated[
        Pairs,
        typer.Option(
            help="What the study calls a parameter of the source, such as lr=learning_rate. May be "
            "repeated.",
            metavar="THEIRS=OURS",
            show_default="the same",
        ),
    ] = None,
    set_: Annotated[
        Pairs,
        typer.Option(
            "--set",
            help="The value of a parameter that the source does not name, such as batch_size=32. "
            "May be repeated.",
            metavar="NAME=VALUE",
            show_default="none",
        ),
    ] = None,
    ignore: Annotated[
        Pairs,
        typer.Option(
            help="A parameter of the source that the study does not have. May be repeated.",
            metavar="NAME",
            show_default="none",
        ),
    ] = None,
    dry_run: Annotated[
        bool, flag("--dry-run", text="Say what would be imported, and change nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make trials that were run elsewhere trials of a study, with their curves.

    Example: tuner study import sqlite:///old.db --into mlp-digits --rename lr=learning_rate

    The sampler learns from them. They do not count for --trials. What does not fit the study's
    space is left out, and said. Importing a source again adds only what is new in it.
    """
    from tuner.algorithms.options import parse_configuration
    from tuner.cli.database_access import open_study
    from tuner.cli.output import print_json, say
    from tuner.manage.importing import (
        WantedImport,
        describe_left_out,
        parse_renamed,
    )
    from tuner.manage.importing import import_trials as import_into
    from tuner.system.names import command, in_command

    wanted = WantedImport(
        source=source,
        study=study,
        experiment=experiment,
        metric=metric,
        renamed=parse_renamed(rename or []),
        ignored=frozenset(ignore or []),
        added=parse_configuration(set_ or [], "--set"),
    )
    store, row = open_study(context, into)
    imported = import_into(store, row, wanted, dry_run)
    if as_json:
        print_json({"study": row.name, "dry_run": dry_run, **vars(imported)})
        return
    verb = "would be imported" if dry_run else "imported"
    already_there = f", {imported.known} were there already" if imported.known else ""
    trials = "1 trial" if imported.added == 1 else f"{imported.added} trials"
    say(f"{verb} into study {row.name}: {trials} of {imported.name}{already_there}")
    for line in describe_left_out(imported.left_out):
        say(line)
    say(f"next: {command('trial', 'list', in_command(row.name), '--best-first')}")
