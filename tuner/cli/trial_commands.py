"""`tuner trial`: list, show, add, retry."""

from typing import Annotated

import typer

from tuner.cli.app import Json, new_typer

app = new_typer("Look at trials, and queue your own.")

FIRST_PAGE = 100

InStudy = Annotated[
    str | None, typer.Option("--study", help="The study.  (default: the newest search)")
]


@app.command("list")
def list_trials(
    context: typer.Context,
    study: Annotated[
        str | None,
        typer.Argument(help="The study; without it the newest search.", metavar="[STUDY]"),
    ] = None,
    best_first: Annotated[bool, typer.Option("--best-first", help="By score.")] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            help=f"Print so many.  (default: {FIRST_PAGE} in a table, all with --json)",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Print all, as they are read, in a table too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """A study's trials with their params, by number.

    Example: tuner trial list --best-first

    A table ends after a page, in a pipe too, and says how many more there are. For programs --json
    prints all, and tuner study export prints CSV.
    """
    from tuner.cli.database_access import look_at_study
    from tuner.cli.result_commands import print_trials
    from tuner.errors import UsageError

    if every and limit is not None:
        raise UsageError("either --all, or --limit")
    store, row = look_at_study(context, study)
    most = limit or (None if every or as_json else FIRST_PAGE)
    print_trials(store, row, best_first, most, as_json)


@app.command("show")
def show(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="The trial's number.")],
    study: InStudy = None,
    as_json: Json = False,
) -> None:
    """One trial: its params, its attempts, its curves.

    Example: tuner trial show 12
    """
    from tuner.cli.database_access import look_at_study
    from tuner.cli.result_commands import print_trial
    from tuner.storage.trials import find_trial, trial_curve

    store, row = look_at_study(context, study)
    trial = find_trial(store, row, number)
    print_trial(row, trial, trial_curve(store, row, trial), as_json)


@app.command("add")
def add(
    context: typer.Context,
    values: Annotated[list[str], typer.Argument(metavar="K=V …", help="Parameters to fix.")],
    study: InStudy = None,
) -> None:
    """Queue an idea of your own; what you leave out is drawn by the sampler.

    Example: tuner trial add width=256 activation=relu
    """
    from tuner.algorithms.options import parse_configuration
    from tuner.cli.database_access import open_study
    from tuner.cli.output import say
    from tuner.cli.result_commands import queued
    from tuner.storage.trials import enqueue

    store, row = open_study(context, study)
    number, waiting = enqueue(store, row, parse_configuration(values, "trial add"))
    say(queued(row.name, number, waiting))


@app.command("retry")
def retry(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="The trial's number.")],
    study: InStudy = None,
) -> None:
    """Try a trial's configuration once more, as a new trial with a seed of its own.

    Example: tuner trial retry 12
    """
    from tuner.cli.database_access import open_study
    from tuner.cli.output import say
    from tuner.cli.result_commands import queued
    from tuner.storage.trials import retry as retry_trial

    store, row = open_study(context, study)
    say(queued(row.name, *retry_trial(store, row, number)))
