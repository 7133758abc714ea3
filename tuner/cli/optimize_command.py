"""`tuner optimize`."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tuner.cli.app import (
    Json,
    NoTracking,
    StudyName,
    TrustCode,
    Workers,
    data_option,
    flag,
    parse_bytes,
    parse_seconds,
    settings_of,
)

if TYPE_CHECKING:
    from tuner.runner import SearchOptions
    from tuner.study.engines import Engine

# The names that --engine takes. "exact" is the old name of keras.
_ENGINES: "dict[str, Engine]" = {"auto": "auto", "keras": "keras", "exact": "keras"}


@dataclass(frozen=True)
class OptimizeOptions:
    """The options of `tuner optimize`, as they were typed."""

    trials: int | None
    more: int | None
    workers: int | None
    timeout: str | None
    target: float | None
    patience_trials: int | None
    no_tracking: bool
    log_models: Literal["best", "all", "none"]
    data_memory: str | None
    data: str | None
    trial_timeout: str | None
    trial_memory: str | None
    engine: str
    lanes: int
    trust_code: list[str]
    quiet: bool
    as_json: bool


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
    no_tracking: NoTracking = False,
    log_models: Annotated[
        Literal["best", "all", "none"],
        typer.Option(help="Which trained networks to send to MLflow."),
    ] = "best",
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
    quiet: Annotated[bool, flag("--quiet", "-q", text="Print only the result.")] = False,
    as_json: Json = False,
) -> None:
    """Train trials until the study has as many as you ask for.

    Example: tuner optimize --trials 100 --timeout 30m

    Several of these commands may run on one study at once, on one machine or many. Together they
    train exactly that number of trials. Ctrl-C interrupts the running trials. The same command
    continues them.
    """
    options = OptimizeOptions(
        trials=trials,
        more=more,
        workers=workers,
        timeout=timeout,
        target=target,
        patience_trials=patience_trials,
        no_tracking=no_tracking,
        log_models=log_models,
        data_memory=data_memory,
        data=data,
        trial_timeout=trial_timeout,
        trial_memory=trial_memory,
        engine=engine,
        lanes=_current_lanes(lanes, population),
        trust_code=trust_code or [],
        quiet=quiet,
        as_json=as_json,
    )
    raise typer.Exit(_search(context, study, options))


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
    """The engine that --engine asks for. Raises UsageError."""
    from tuner.cli.output import complain
    from tuner.errors import UsageError

    if name not in _ENGINES:
        raise UsageError(f"--engine must be auto or keras, got {name!r}")
    if name == "exact":
        complain("--engine exact is now called --engine keras; the old name still works")
    return _ENGINES[name]


def _search(context: typer.Context, name: str | None, options: OptimizeOptions) -> int:
    """Open the study, search, and print the result. Returns the exit code."""
    from tuner.cli.consent import confirm_code
    from tuner.cli.database_access import may_track, open_study
    from tuner.cli.live_display import Display
    from tuner.cli.result_output import print_outcome
    from tuner.manage.creation import check_code
    from tuner.runner import optimize as run
    from tuner.runner import slots_wanted
    from tuner.storage.studies import check_is_search

    request = _parse_request(options)
    settings = settings_of(context)
    store, study = open_study(context, name)
    check_is_search(study, "optimize")
    confirm_code(settings, study.spec, study.name, options.trust_code)
    check_code(study.spec, settings, options.data)
    total = slots_wanted(store, study, options.trials, options.more)
    request = replace(
        request,
        limits=replace(request.limits, trials=total),
        tracking=request.tracking and may_track(store),
    )
    with Display(study.spec.metric, options.quiet or options.as_json) as display:
        display.stage(f"study {study.name}: {total} trials")
        outcome, delivered = run(settings, store, study, request, display, display.stage)
    return print_outcome(store, study, outcome, delivered, options.as_json)


def _parse_request(options: OptimizeOptions) -> "SearchOptions":
    """The request that the options describe; the study decides the total of trials later. Raises
    UsageError."""
    from tuner.runner import Limits, SearchOptions

    Limits.check(
        trials=options.trials,
        more=options.more,
        workers=options.workers,
        patience_trials=options.patience_trials,
        target=options.target,
        lanes=options.lanes,
    )
    limits = Limits(
        trials=0,
        timeout_s=parse_seconds(options.timeout, "--timeout"),
        target=options.target,
        patience_trials=options.patience_trials,
        trial_timeout_s=parse_seconds(options.trial_timeout, "--trial-timeout"),
    )
    return SearchOptions(
        limits=limits,
        workers=options.workers,
        tracking=not options.no_tracking,
        log_models=options.log_models,
        data_memory_bytes=parse_bytes(options.data_memory, "--data-memory"),
        trial_memory_bytes=parse_bytes(options.trial_memory, "--trial-memory"),
        engine=_current_engine(options.engine),
        lanes=options.lanes,
        data=options.data,
    )
