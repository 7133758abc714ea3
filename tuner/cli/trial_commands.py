"""`tuner trial`: list, show, plot, add, retry, stop."""

from typing import Annotated

import typer

from tuner.cli.app import InStudy, Json, StudyName, flag, new_typer
from tuner.cli.control_commands import stop_trial
from tuner.cli.plot_commands import plot_trials

app = new_typer("Look at trials, queue trials of your own, and stop them.")

_PAGE = 100

TrialNumber = Annotated[int, typer.Argument(help="The trial's number.", metavar="NUMBER")]


@app.command("list")
def list_trials(
    context: typer.Context,
    study: StudyName = None,
    best_first: Annotated[
        bool, flag("--best-first", text="Sort by score instead of by number.")
    ] = False,
    sort: Annotated[
        str | None,
        typer.Option(
            help="Sort by this column, such as seconds; --sort=-seconds begins with the largest.",
            metavar="COLUMN",
            show_default="by number",
        ),
    ] = None,
    filter: Annotated[
        str | None,
        typer.Option(
            help="Only trials that meet these terms, such as "
            "'learning_rate<0.01 optimizer=adam score>0.9'.",
            metavar="TERMS",
            show_default="all trials",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            help="Print at most this many trials.",
            metavar="N",
            show_default=f"{_PAGE}; with --json all",
        ),
    ] = None,
    every: Annotated[bool, flag("--all", text="Print all trials.")] = False,
    as_json: Json = False,
) -> None:
    """Print a study's trials with their parameters, by number.

    Example: tuner trial list --best-first

    Example: tuner trial list --sort learning_rate --filter 'state=complete score>0.9'

    A filter has terms of a column, one of = != < <= > >= and a value; all must hold. The columns
    are those of the table, and end, such as end=diverged; none is a missing value.

    A table ends after 100 trials, in a pipe too, and says how many more there are. For programs,
    --json prints all, and tuner study export prints CSV.
    """
    from tuner.cli.database_access import read_study
    from tuner.cli.result_output import TrialOrder, print_trials
    from tuner.errors import UsageError

    if every and limit is not None:
        raise UsageError("give either --all or --limit, not both")
    if best_first and sort is not None:
        raise UsageError("give either --best-first or --sort, not both")
    store, row = read_study(context, study)
    most = limit or (None if every or as_json else _PAGE)
    order = TrialOrder(best_first, sort or "", filter or "")
    print_trials(store, row, order, most, as_json)


@app.command("show")
def show(
    context: typer.Context,
    number: TrialNumber,
    study: InStudy = None,
    as_json: Json = False,
) -> None:
    """Print one trial: its parameters, its attempts, its curves.

    Example: tuner trial show 12
    """
    from tuner.cli.database_access import read_study
    from tuner.cli.result_output import print_trial
    from tuner.reports.lineages import read_lineage
    from tuner.reports.study_tables import report_trial
    from tuner.storage.deliveries import read_notes
    from tuner.storage.trials import find_trial, trial_curve

    store, row = read_study(context, study)
    trial = find_trial(store, row, number)
    notes = read_notes(store, row, trial.trial_id)
    curve, lineage = trial_curve(store, row, trial), read_lineage(store, row, trial)
    print_trial(report_trial(row, trial, curve, notes, lineage), as_json)


app.command("plot")(plot_trials)


@app.command("add")
def add(
    context: typer.Context,
    values: Annotated[
        list[str],
        typer.Argument(metavar="NAME=VALUE …", help="The parameters to fix, such as width=256."),
    ],
    study: InStudy = None,
) -> None:
    """Queue a trial of your own. The sampler chooses the parameters that you leave out.

    Example: tuner trial add width=256 activation=relu
    """
    from tuner.algorithms.options import parse_configuration
    from tuner.cli.database_access import open_study
    from tuner.cli.result_output import print_queued
    from tuner.storage.trials import enqueue

    store, row = open_study(context, study)
    number, waiting = enqueue(store, row, parse_configuration(values, "trial add"))
    print_queued(row.name, number, waiting)


@app.command("retry")
def retry(context: typer.Context, number: TrialNumber, study: InStudy = None) -> None:
    """Queue a trial's configuration once more, as a new trial with another seed.

    Example: tuner trial retry 12
    """
    from tuner.cli.database_access import open_study
    from tuner.cli.result_output import print_queued
    from tuner.storage.trials import retry as retry_trial

    store, row = open_study(context, study)
    print_queued(row.name, *retry_trial(store, row, number))


app.command("stop")(stop_trial)
