"""`tuner study pause | resume | stop | set | watch` and `tuner trial stop`: what people ask of a
study that runs, on any machine."""

from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.app import InStudy, StudyName

if TYPE_CHECKING:
    from tuner.study.study_state import StudyState

Priority = Annotated[
    int | None,
    typer.Option(
        help="Daemons take studies with a higher number first, such as 10 or -5.",
        metavar="P",
        show_default="0",
    ),
]
Total = Annotated[
    int | None,
    typer.Option(
        "--trials",
        help="The study's total number of trials, which tuner worker trains.",
        metavar="N",
        show_default="unset: what a search asks for",
    ),
]
DaemonTarget = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="Daemons stop the study when a trial's score is this good, such as 0.95.",
        metavar="SCORE",
        show_default="no target",
    ),
]
DaemonPatience = Annotated[
    str | None,
    typer.Option(
        "--patience-trials",
        help="Daemons stop the study when this many trials in a row bring no better score.",
        metavar="N",
        show_default="no limit",
    ),
]
DaemonTrialTimeout = Annotated[
    str | None,
    typer.Option(
        "--trial-timeout",
        help="Daemons end a trial that trains longer than this, such as 10m.",
        metavar="TIME",
        show_default="no limit",
    ),
]
DaemonSure = Annotated[
    str | None,
    typer.Option(
        "--until-sure",
        help="Daemons stop the study when 20 further trials are expected to bring less than this, "
        "such as 0.002 or 5%, or auto.",
        metavar="GAIN",
        show_default="no limit",
    ),
]


def pause_study(context: typer.Context, study: StudyName = None) -> None:
    """Pause a study on all machines: its trials stop behind an epoch, and none begins.

    Example: tuner study pause mlp-digits

    Each running trial writes a checkpoint at the end of its epoch and gives its worker free.
    Searches in the foreground wait. tuner study resume goes on without losing an epoch.
    """
    from tuner.study.study_state import StudyState

    _change_state(context, study, StudyState.PAUSED)


def resume_study(context: typer.Context, study: StudyName = None) -> None:
    """Let a study that was paused or stopped go on.

    Example: tuner study resume mlp-digits
    """
    from tuner.study.study_state import StudyState

    _change_state(context, study, StudyState.RUNNING)


def stop_study(context: typer.Context, study: StudyName = None) -> None:
    """Stop the searches that run on a study now, on any machine, as Ctrl-C does.

    Example: tuner study stop mlp-digits

    Running trials are put back. Daemons leave the study alone until tuner study resume. A search
    that starts later in the foreground goes on with it.
    """
    from tuner.study.study_state import StudyState

    _change_state(context, study, StudyState.STOPPED)


def _change_state(context: typer.Context, name: str | None, state: "StudyState") -> None:
    from tuner.cli.database_access import open_study
    from tuner.cli.output import say
    from tuner.manage.control import change_state

    store, row = open_study(context, name)
    say(f"study {row.name}: {change_state(store, row, state)}")


def set_study(
    context: typer.Context,
    study: StudyName = None,
    trials: Total = None,
    priority: Priority = None,
    target: DaemonTarget = None,
    patience_trials: DaemonPatience = None,
    trial_timeout: DaemonTrialTimeout = None,
    until_sure: DaemonSure = None,
) -> None:
    """Change a study's total of trials, its priority, or what ends its search early.

    Example: tuner study set mlp-digits --trials 200 --priority 10

    Searches that run follow the new total. A lower one keeps the trials that have begun. The last
    four options hold for daemons, and the word none removes one.
    """
    from tuner.cli.database_access import open_study
    from tuner.cli.output import say
    from tuner.errors import UsageError
    from tuner.manage.control import StudyPlan, describe_plan, plan_study

    plan = StudyPlan(trials, priority, target, patience_trials, trial_timeout, until_sure)
    if plan.is_empty:
        raise UsageError("say what to change, such as --trials 200 or --priority 10")
    plan.check()
    store, row = open_study(context, study)
    plan_study(store, row, plan)
    say(f"study {row.name}: {describe_plan(store, row, plan)}")


def watch_study(context: typer.Context, study: StudyName = None) -> None:
    """Show how far a study is, wherever it runs, until it is done or Ctrl-C.

    Example: tuner study watch mlp-digits

    Nothing is changed. Outside a terminal each trial that ends is a line.
    """
    from tuner.cli.database_access import read_study
    from tuner.cli.live_display import Display
    from tuner.cli.result_output import print_watched
    from tuner.manage.watching import watch_study as watch

    store, row = read_study(context, study)
    with Display(row.spec.metric, quiet=False) as display:
        status = watch(store, row, display, display.line)
    print_watched(row, status)


def stop_trial(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="The trial's number.", metavar="NUMBER")],
    study: InStudy = None,
) -> None:
    """End one running trial, on any machine, at its next report.

    Example: tuner trial stop 12

    It keeps its best score so far and counts as one of the study's trials; the sampler learns from
    it as from a pruned one.
    """
    from tuner.cli.database_access import open_study
    from tuner.cli.output import say
    from tuner.storage.study_control import stop_trial as stop

    store, row = open_study(context, study)
    when = "at its next report" if stop(store, row, number) else "when it goes on"
    say(f"study {row.name}: trial {number} ends {when}")


# The commands of `tuner study` that are here.
CONTROL = {
    "pause": pause_study,
    "resume": resume_study,
    "stop": stop_study,
    "set": set_study,
    "watch": watch_study,
}
