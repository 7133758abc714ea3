"""`tuner optimize`."""

from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from tuner.cli.app import (
    Json,
    Notify,
    NoTracking,
    StudyName,
    TrustCode,
    Workers,
    data_option,
    flag,
    settings_of,
)

if TYPE_CHECKING:
    from tuner.manage.searching import SearchWanted
    from tuner.study.engines import Engine


def optimize(
    context: typer.Context,
    study: StudyName = None,
    trials: Annotated[
        int | None,
        typer.Option(
            help="The study's total number of trials, such as 100. Repeating the command adds no "
            "trial.",
            metavar="N",
            show_default="unset: give this or --more",
        ),
    ] = None,
    more: Annotated[
        int | None,
        typer.Option(
            help="The number of trials to add to those the study has.",
            metavar="N",
            show_default="unset: give this or --trials",
        ),
    ] = None,
    workers: Workers = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            help="Where to train: ray://HOST:10001 for a Ray cluster, HOST:6379 from one of its "
            "machines, or ray for the cluster of RAY_ADDRESS, else one that runs on this machine, "
            "else one that ends with the command.",
            metavar="CLUSTER",
            show_default="this machine",
        ),
    ] = None,
    trial_cpus: Annotated[
        float | None,
        typer.Option(
            help="With --on: the CPUs that each worker process takes of its machine.",
            metavar="N",
            show_default="1",
        ),
    ] = None,
    trial_gpus: Annotated[
        float | None,
        typer.Option(
            help="With --on: the part of a GPU that each worker process takes, such as 1 or 0.25.",
            metavar="N",
            show_default="0",
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            help="Stop after this time, such as 90s, 30m or 2h. The next command continues the "
            "running trials.",
            metavar="TIME",
            show_default="no limit",
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            help="Stop when a trial's score is this good, such as 0.95.",
            metavar="SCORE",
            show_default="no target",
        ),
    ] = None,
    patience_trials: Annotated[
        int | None,
        typer.Option(
            help="Stop when this many trials in a row bring no better score.",
            metavar="N",
            show_default="no limit",
        ),
    ] = None,
    until_sure: Annotated[
        str | None,
        typer.Option(
            help="Stop when 20 further trials are expected to improve the best score by less than "
            "this, such as 0.002; 5% is a part of the way from the median trial to the best; auto "
            "is 5%.",
            metavar="GAIN",
            show_default="no limit",
        ),
    ] = None,
    no_tracking: NoTracking = False,
    log_models: Annotated[
        Literal["best", "all", "none"],
        typer.Option(
            help="Which trained networks to send to MLflow: the best, as many as --keep-models "
            "says; all, which keeps them all; or none."
        ),
    ] = "best",
    keep_models: Annotated[
        str | None,
        typer.Option(
            help="How many of the study's best trials keep their networks, as files and in MLflow: "
            "a number, or all. The others can be trained again.",
            metavar="K",
            show_default="3",
        ),
    ] = None,
    data_memory: Annotated[
        str | None,
        typer.Option(
            help="Data larger than this, such as 2GiB, are streamed from disk in each worker.",
            metavar="SIZE",
            show_default="half of the memory, divided by the workers",
        ),
    ] = None,
    data: Annotated[
        str | None,
        data_option(
            "Where the study's data lie now. Their contents must be the same. Holds for this "
            "command only.",
            "where they lay when the study was created",
        ),
    ] = None,
    trial_timeout: Annotated[
        str | None,
        typer.Option(
            help="End a trial that trains longer than this, such as 10m, and mark it as "
            "infeasible.",
            metavar="TIME",
            show_default="no limit",
        ),
    ] = None,
    trial_memory: Annotated[
        str | None,
        typer.Option(
            help="End a trial whose worker process holds more memory than this, such as 2GiB. "
            "TensorFlow alone takes 0.8 GiB; with --lanes the process holds several trials.",
            metavar="SIZE",
            show_default="no limit",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="How trials are trained. auto shares compiled programs between trials. keras "
            "compiles a program for each trial, which is slower; use it to check auto's scores.",
            metavar="auto|keras",
        ),
    ] = "auto",
    lanes: Annotated[
        int,
        typer.Option(
            help="The number of trials that each worker process trains at once in one program. "
            "More than 1 is for small networks on a GPU.",
            metavar="N",
        ),
    ] = 1,
    population: Annotated[
        int | None, typer.Option(hidden=True, help="Old name of --lanes.")
    ] = None,
    trust_code: TrustCode = None,
    notify: Notify = None,
    quiet: Annotated[bool, flag("--quiet", "-q", text="Print only the result.")] = False,
    as_json: Json = False,
) -> None:
    """Train trials until the study has as many as you ask for.

    Example: tuner optimize --trials 100 --timeout 30m

    Several of these commands may run on one study at once, on one machine or many. Together they
    train exactly that number of trials. Ctrl-C interrupts the running trials. The same command
    continues them.
    """
    _start_imports(context, study, trials, on)
    from tuner.manage.searching import SearchWanted

    wanted = SearchWanted(
        trials=trials,
        more=more,
        workers=workers,
        timeout=timeout,
        target=target,
        patience_trials=patience_trials,
        until_sure=until_sure,
        tracking=not no_tracking,
        log_models=log_models,
        keep_models=keep_models,
        data_memory=data_memory,
        data=data,
        trial_timeout=trial_timeout,
        trial_memory=trial_memory,
        engine=_current_engine(engine),
        lanes=_current_lanes(lanes, population),
        notify=tuple(notify or ()),
        on=on,
        trial_cpus=trial_cpus,
        trial_gpus=trial_gpus,
    )
    raise typer.Exit(_search(context, study, wanted, trust_code or [], quiet, as_json))


def _start_imports(
    context: typer.Context, study: str | None, trials: int | None, on: str | None
) -> None:
    """Have the workers' fork server import TensorFlow while this process imports what it needs,
    where there is a core for either."""
    from tuner.storage.first_look import trains_networks
    from tuner.system.machine import cores
    from tuner.workers.base import KERAS
    from tuner.workers.fork_server import start_early

    url = settings_of(context).storage
    if on is None and cores() > 1 and trains_networks(url, study, trials):
        start_early(KERAS)


def _current_lanes(lanes: int, population: int | None) -> int:
    """The value of --lanes; `population`: of its old name, which still works. Raises UsageError."""
    from tuner.cli.output import complain
    from tuner.errors import UsageError

    if population is None:
        return lanes
    if lanes not in (1, population):
        raise UsageError("give --lanes or its old name --population, not both")
    complain("--population is now called --lanes; the old name still works")
    return population


def _current_engine(name: str) -> "Engine":
    """The present name of the engine, which is checked later."""
    from tuner.cli.output import complain

    if name == "exact":
        complain("--engine exact is now called --engine keras; the old name still works")
        return "keras"
    return cast("Engine", name)


def _search(
    context: typer.Context,
    name: str | None,
    wanted: "SearchWanted",
    trusted: list[str],
    quiet: bool,
    as_json: bool,
) -> int:
    """Open the study, search, and print the result. `trusted`: hashes of code that may run. Returns
    the exit code."""
    from tuner.cli.consent import confirm_code
    from tuner.cli.database_access import open_study
    from tuner.cli.live_display import Display
    from tuner.cli.output import complain
    from tuner.cli.result_output import print_outcome
    from tuner.manage.searching import search_study
    from tuner.storage.studies import check_is_search

    wanted.options()  # a mistake in them is reported before the database is opened
    settings = settings_of(context)
    store, study = open_study(context, name)
    check_is_search(study, "optimize")
    confirm_code(settings, study.spec, study.name, trusted)
    with Display(study.spec.metric, quiet or as_json) as display:
        outcome, delivered = search_study(
            settings, store, study, wanted, display, display.stage, complain, owns_process=True
        )
    return print_outcome(store, study, outcome, delivered, as_json)
