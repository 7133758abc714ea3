"""`tuner study plot` and `tuner trial plot`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cli.app import InStudy, Json, StudyName

if TYPE_CHECKING:
    from tuner.reports.charts import Chart


PlotKind = Annotated[
    str,
    typer.Argument(
        help="What to draw. history: the scores by trial. compute: the best score by training "
        "time. curves: the curves of running trials and the best. importance: which parameters "
        "matter. slice: the scores by each parameter. parallel: the best trials' parameters. "
        "schedule: with sampler pbt, the best trial's numbers by epoch. "
        "front: two objectives and their Pareto front. failures: why attempts failed.",
        metavar="KIND",
    ),
]
SomeParams = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        help="With slice and parallel: draw this parameter only. May be repeated.",
        metavar="NAME",
        show_default="all that vary",
    ),
]
TrialNumbers = Annotated[
    list[int] | None,
    typer.Argument(
        help="The trials' numbers. Of several trials, the objective is drawn.",
        metavar="[NUMBER …]",
        show_default="the best trial",
    ),
]


def _save_option(formats: str) -> Any:
    return typer.Option(
        "--save",
        help=f"Draw it into this file too: {formats}.",
        metavar="FILE",
        show_default="no file",
    )


def plot_study(
    context: typer.Context,
    kind: PlotKind,
    study: StudyName = None,
    param: SomeParams = None,
    save: Annotated[
        Path | None, _save_option("a .png, .svg or .pdf, or an interactive .html")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw a study: its history, which parameters matter, and where good values lie.

    Example: tuner study plot history --save history.png
    """
    from tuner.cli.database_access import read_study
    from tuner.reports.chart_files import PAGE, PICTURES, check_file, save_page, save_picture
    from tuner.reports.study_plots import study_chart

    if save is not None:
        check_file(save, (*PICTURES, PAGE))
    store, row = read_study(context, study)
    chart, plotted = study_chart(store, row, kind, param or [])
    if save is not None and save.suffix == PAGE:
        save_page(chart, plotted, kind, save)
    elif save is not None:
        save_picture(chart, save)
    _print_chart(chart, as_json, save)


def plot_trials(
    context: typer.Context,
    numbers: TrialNumbers = None,
    study: InStudy = None,
    save: Annotated[Path | None, _save_option("a .png, .svg or .pdf")] = None,
    as_json: Json = False,
) -> None:
    """Draw a trial's curves: its loss and metrics by epoch, for training and validation.

    Example: tuner trial plot 12 --save curves.png
    """
    from tuner.cli.database_access import read_study
    from tuner.reports.chart_files import check_file, save_picture
    from tuner.reports.trial_curves import curves_chart
    from tuner.storage.trials import find_best, require_best

    if save is not None:
        check_file(save)
    store, row = read_study(context, study)
    chosen = numbers or [require_best(row, find_best(store, row)).number]
    chart = curves_chart(store, row, chosen)
    if save is not None:
        save_picture(chart, save)
    _print_chart(chart, as_json, save)


def _print_chart(chart: "Chart", as_json: bool, saved: Path | None) -> None:
    import sys

    from tuner.cli.output import console, print_json, say
    from tuner.cli.terminal_charts import TerminalChart

    if as_json:
        print_json(chart.facts())
        return
    console().print(TerminalChart(chart, is_piped=not sys.stdout.isatty()))
    if saved is not None:
        say(f"wrote {saved}")
