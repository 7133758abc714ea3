"""`tuner compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.app import Json, TrustCode, settings_of
from tuner.cli.data_commands import DATA_HELP, Columns

if TYPE_CHECKING:
    from tuner.reports.comparisons import Subject


def compare(
    context: typer.Context,
    file: Annotated[
        str | None,
        typer.Argument(help="A shipped search space, or a path to a YAML file.", metavar="FILE"),
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="Instead of a file: this study's best trial.")
    ] = None,
    trial: Annotated[int | None, typer.Option(help="With --study: this trial.")] = None,
    seeds: Annotated[int, typer.Option(help="Trials of each configuration.")] = 3,
    data: Annotated[
        str | None,
        typer.Option(
            help=f"{DATA_HELP} With --study: where its data lie now, if elsewhere; their contents "
            "must be the same.  (default: the file's data, else fashion_mnist)",
            metavar="SOURCE",
        ),
    ] = None,
    column: Columns = None,
    scaling: Annotated[
        str | None,
        typer.Option(help="minmax, center, standardize or none.  (default: the file's, or auto)"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V", help="Fix a parameter; may be repeated."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Of its study.  (default: compare-FILE-DATA, or compare-STUDY-trialN)"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes.  (default: one a core, or one a GPU)")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the splits and all trials.")] = 0,
    no_tracking: Annotated[
        bool, typer.Option("--no-tracking", help="Leave MLflow out; SQL keeps everything.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            help="Where the table goes, without ending.  (default: comparisons/STUDY)",
            metavar="PREFIX",
        ),
    ] = None,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Compare configurations on the test split: mean and deviation over seeds.

    Example: tuner compare ./reference.yaml --seeds 3

    The configurations are the file's baselines or, where it has none, its grid. Each is trained on
    train + validation for all its epochs; nothing is selected, and the test split is read after the
    last epoch alone. The same command again goes on, and a larger --seeds adds to it.
    """
    from tuner.cli.comparison_output import print_comparison
    from tuner.cli.consent import confirm_code
    from tuner.cli.database_access import open_for_work
    from tuner.cli.live_display import Display
    from tuner.cli.output import complain
    from tuner.cli.residence import may_track
    from tuner.manage.creation import check_code
    from tuner.reports import comparisons as room
    from tuner.runner import Limits

    settings = settings_of(context)
    Limits.check(1, None, workers, None, None)
    subject = _subject(
        context, file, study, trial, (data, scaling, set_, column), seed, trust_code or []
    )
    row = room.prepare(
        subject, seeds, settings, lambda: open_for_work(context), name, seed, complain
    )
    source = subject.data.source
    confirm_code(settings, row.spec, row.name, [])
    check_code(row.spec, settings, source)
    store = open_for_work(context)
    tracking = not no_tracking and may_track(store)
    with Display(row.spec.metric, as_json) as display:
        display.stage(f"study {row.name}: the test split is read, after each last epoch alone")
        ran = room.train(
            settings, store, row, seeds, workers, tracking, display, display.stage, data=source
        )
    table = room.results(store, row, subject)
    files = room.save(row, table, to or Path("comparisons") / row.file_name)
    raise typer.Exit(print_comparison(row, table, files, ran, as_json))


def _subject(
    context: typer.Context,
    file: str | None,
    study: str | None,
    trial: int | None,
    changes: tuple[str | None, str | None, list[str] | None, list[str] | None],
    seed: int,
    trusted: list[str],
) -> "Subject":
    from tuner.algorithms.options import parse_columns, parse_configuration
    from tuner.cli.consent import confirm_code
    from tuner.cli.database_access import open_study
    from tuner.errors import UsageError
    from tuner.reports.comparisons import of_file, of_trial

    if (file is None) == (study is None):
        raise UsageError("say what is compared: either a file, or --study NAME")
    data, scaling, set_, column = changes
    if file is not None:
        if trial is not None:
            raise UsageError("--trial goes with --study")
        overrides = parse_configuration(set_ or [], "--set")
        columns = parse_columns(column or [])
        return of_file(file, overrides, seed, source=data, scaling=scaling, columns=columns)
    if scaling is not None or set_ is not None or column:
        raise UsageError(
            "--study brings its own columns, scaling and values: no --column, --scaling or --set"
        )
    store, row = open_study(context, study)
    confirm_code(settings_of(context), row.spec, row.name, trusted)
    return of_trial(store, row, trial, settings_of(context), data)
