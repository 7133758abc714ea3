"""`tuner compare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.app import Json, NoTracking, TrustCode, Workers, data_option, settings_of
from tuner.cli.data_options import DATA_HELP, Columns, Pairs, Scaling, Weights

if TYPE_CHECKING:
    from tuner.reports.comparisons import Subject
    from tuner.storage.studies import StudyRow


@dataclass(frozen=True)
class CompareOptions:
    """The options of `tuner compare`, as they were typed."""

    file: str | None
    study: str | None
    trial: int | None
    seeds: int
    data: str | None
    columns: list[str]
    weights: str | None
    scaling: str | None
    values: list[str]
    name: str | None
    workers: int | None
    seed: int
    no_tracking: bool
    to: Path | None
    trust_code: list[str]
    as_json: bool


def compare(
    context: typer.Context,
    file: Annotated[
        str | None,
        typer.Argument(
            help="A shipped search space, or a path to a YAML file.",
            metavar="FILE",
            show_default="unset: give this or --study",
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            help="Compare a trial of this study instead of a file's configurations.",
            metavar="STUDY",
            show_default="unset: give this or FILE",
        ),
    ] = None,
    trial: Annotated[
        int | None,
        typer.Option(
            help="The number of the trial. Needs --study.",
            metavar="N",
            show_default="the study's best trial",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="The number of trials of each configuration.", metavar="N")
    ] = 3,
    data: Annotated[
        str | None,
        data_option(
            f"{DATA_HELP} With --study: where its data lie now. Their contents must be the same.",
            "the file's data or the study's, else fashion_mnist",
        ),
    ] = None,
    column: Columns = None,
    weights: Weights = None,
    scaling: Scaling = None,
    set_: Annotated[
        Pairs,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Fix a parameter, such as epochs=5. May be repeated.",
            show_default="the file's values",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="The name of the comparison's study.",
            metavar="NAME",
            show_default="compare-FILE-DATA, or compare-STUDY-trialN",
        ),
    ] = None,
    workers: Workers = None,
    seed: Annotated[
        int, typer.Option(help="The seed of the splits and of all trials.", metavar="N")
    ] = 0,
    no_tracking: NoTracking = False,
    to: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the table, without a suffix.",
            metavar="PREFIX",
            show_default="comparisons/STUDY",
        ),
    ] = None,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Compare configurations on the test split: mean and deviation over seeds.

    Example: tuner compare ./reference.yaml --seeds 3

    The configurations are the file's baselines or, if it has none, its grid. Each is trained on
    the training and validation splits for all its epochs. Nothing is selected, and the test split
    is read only after the last epoch. The same command continues an interrupted comparison, and a
    larger --seeds adds to it.
    """
    options = CompareOptions(
        file=file,
        study=study,
        trial=trial,
        seeds=seeds,
        data=data,
        columns=column or [],
        weights=weights,
        scaling=scaling,
        values=set_ or [],
        name=name,
        workers=workers,
        seed=seed,
        no_tracking=no_tracking,
        to=to,
        trust_code=trust_code or [],
        as_json=as_json,
    )
    raise typer.Exit(_compare(context, options))


def _compare(context: typer.Context, options: CompareOptions) -> int:
    """Train what is missing, write the table and print it. Returns the exit code."""
    from tuner.cli.database_access import open_database
    from tuner.cli.live_display import Display
    from tuner.cli.output import complain
    from tuner.cli.result_output import print_comparison
    from tuner.manage.databases import may_track
    from tuner.reports import comparisons

    subject, study = _prepare(context, options)
    store = open_database(context)
    tracking = not options.no_tracking and may_track(store, complain)
    with Display(study.spec.metric, options.as_json) as display:
        display.stage(f"study {study.name}: scored on the test split after each last epoch")
        ran = comparisons.train(
            settings_of(context),
            store,
            study,
            options.seeds,
            workers=options.workers,
            tracking=tracking,
            watcher=display,
            stage=display.stage,
            tell=complain,
            data=subject.data.source,
        )
    table = comparisons.results(store, study, subject)
    files = comparisons.save(study, table, options.to or Path("comparisons") / study.file_name)
    return print_comparison(study, table, files, ran, options.as_json)


def _prepare(context: typer.Context, options: CompareOptions) -> "tuple[Subject, StudyRow]":
    """What is compared, and the comparison's study, whose code may run. Raises UsageError."""
    from tuner.cli.consent import confirm_code
    from tuner.cli.database_access import open_database
    from tuner.cli.output import complain
    from tuner.manage.creation import check_code
    from tuner.reports import comparisons

    settings = settings_of(context)
    subject = _subject(context, options)
    study = comparisons.prepare(
        subject,
        options.seeds,
        settings,
        lambda: open_database(context),
        name=options.name,
        seed=options.seed,
        tell=complain,
    )
    confirm_code(settings, study.spec, study.name, [])
    check_code(study.spec, settings, subject.data.source)
    return subject, study


def _subject(context: typer.Context, options: CompareOptions) -> "Subject":
    """What is compared: a file's configurations or a study's trial. Raises UsageError."""
    from tuner.algorithms.options import parse_columns, parse_configuration
    from tuner.cli.consent import confirm_code
    from tuner.cli.database_access import open_study
    from tuner.errors import UsageError
    from tuner.reports.comparisons import of_file, of_trial
    from tuner.runner import Limits

    Limits.check(1, None, options.workers, None, None)
    if (options.file is None) == (options.study is None):
        raise UsageError("say what to compare: either a file, or --study NAME")
    if options.file is not None:
        if options.trial is not None:
            raise UsageError("--trial needs --study")
        return of_file(
            options.file,
            parse_configuration(options.values, "--set"),
            options.seed,
            source=options.data,
            scaling=options.scaling,
            columns=parse_columns(options.columns),
            weights=options.weights,
        )
    given = (options.scaling, options.weights, options.values or None, options.columns or None)
    if any(each is not None for each in given):
        raise UsageError(
            "--study brings its own columns, weights, scaling and values: leave out --column, "
            "--weights, --scaling and --set"
        )
    store, study = open_study(context, options.study)
    confirm_code(settings_of(context), study.spec, study.name, options.trust_code)
    return of_trial(store, study, options.trial, settings_of(context), options.data)
