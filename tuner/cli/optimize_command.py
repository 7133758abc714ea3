"""`tuner optimize`."""

from typing import Annotated, Literal

import typer

from tuner.cli.app import Json, StudyName, TrustCode, seconds, settings_of, size


def optimize(
    context: typer.Context,
    study: StudyName = None,
    trials: Annotated[
        int | None, typer.Option(help="The study's total; repeating the command adds nothing.")
    ] = None,
    more: Annotated[int | None, typer.Option(help="This many beyond those it has.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Worker processes.  (default: one a GPU, or one a core of the machine or "
            "container, with 1 GiB of memory each)"
        ),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="Stop after 90s, 30m or 2h; running trials are put back.")
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Stop once a network scores this well.")
    ] = None,
    patience_trials: Annotated[
        int | None, typer.Option(help="Stop when this many trials in a row bring no better score.")
    ] = None,
    no_tracking: Annotated[
        bool, typer.Option("--no-tracking", help="Leave MLflow out; SQL keeps everything.")
    ] = False,
    log_models: Annotated[
        Literal["best", "all", "none"], typer.Option(help="Which models go to MLflow.")
    ] = "best",
    data_memory: Annotated[
        str | None,
        typer.Option(
            help="Stream data larger than this, such as 2GiB, in each worker.  "
            "(default: half of the memory, shared)",
            metavar="SIZE",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Where the study's data lie now, if elsewhere: for this command, not remembered. "
            "Their contents must be the same.",
            metavar="SOURCE",
        ),
    ] = None,
    trial_timeout: Annotated[
        str | None,
        typer.Option(help="End a trial that trains longer than 90s, 10m or 1h as infeasible."),
    ] = None,
    trial_memory: Annotated[
        str | None,
        typer.Option(
            help="End a trial whose worker holds more memory, such as 2GiB, TensorFlow's own "
            "0.8 GiB and a population's other trials included.",
            metavar="SIZE",
        ),
    ] = None,
    engine: Annotated[
        Literal["auto", "keras"],
        typer.Option(
            help="keras: compile a program for each trial's own network, which is slower, to check "
            "what the shared ones give."
        ),
    ] = "auto",
    lanes: Annotated[
        int,
        typer.Option(
            help="Trials that each worker process trains at once, in one program: for GPUs.",
        ),
    ] = 1,
    trust_code: TrustCode = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")] = False,
    as_json: Json = False,
) -> None:
    """Train trials until the study has as many as you ask for.

    Example: tuner optimize --trials 100 --timeout 30m

    Several of these commands may run on one study at once, on one machine or many: together they
    do exactly that number. Ctrl-C puts running trials back; the same command goes on with them.
    """
    from tuner.cli.consent import confirm_code
    from tuner.cli.database_access import open_study
    from tuner.cli.live_display import Display
    from tuner.cli.residence import may_track
    from tuner.cli.result_commands import print_outcome
    from tuner.manage.creation import check_code
    from tuner.runner import Limits, Request, slots_wanted
    from tuner.runner import optimize as run
    from tuner.storage.studies import check_is_search

    settings = settings_of(context)
    Limits.check(trials, more, workers, patience_trials, target, lanes)
    limit_s = seconds(timeout) if timeout else None
    trial_limit_s = seconds(trial_timeout, "--trial-timeout") if trial_timeout else None
    memory = size(data_memory) if data_memory else None
    trial_bytes = size(trial_memory, "--trial-memory") if trial_memory else None
    store, row = open_study(context, study)
    check_is_search(row, "optimize")
    confirm_code(settings, row.spec, row.name, trust_code or [])
    check_code(row.spec, settings, data)
    total = slots_wanted(store, row, trials, more)
    limits = Limits(total, limit_s, target, patience_trials, trial_limit_s)
    request = Request(
        limits,
        workers,
        not no_tracking and may_track(store),
        log_models,
        memory,
        trial_bytes,
        engine=engine,
        lanes=lanes,
        data=data,
    )
    with Display(row.spec.metric, quiet or as_json) as display:
        display.stage(f"study {row.name}: {total} trials")
        outcome, delivered = run(settings, store, row, request, display, display.stage)
    raise typer.Exit(print_outcome(store, row, outcome, delivered, as_json))
