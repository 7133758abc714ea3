"""The page of a study.

Its own HTML is light: the parts that take longer, and the figures, are fetched once it is shown.
Parts follow the database: see static/live.js.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from fastapi import APIRouter, HTTPException, Request, Response

from tuner.errors import SpecError
from tuner.manage.standstill import standstill_of
from tuner.reports.chart_tables import ChartTable
from tuner.reports.comparisons import caption, comparison_table
from tuner.reports.standing import Standing, read_standing
from tuner.reports.study_plots import STUDY_PLOTS
from tuner.storage import Store
from tuner.storage.change_marks import read_mark
from tuner.storage.running_trials import running_trials
from tuner.storage.studies import StudyRow
from tuner.storage.study_progress import read_progress
from tuner.storage.trial_outcomes import Failure, read_failures
from tuner.storage.trials import count_ends
from tuner.system.names import command, in_command, printable
from tuner.system.secret_masking import without_secrets
from tuner.values import clipped
from tuner.web import tool_links
from tuner.web.figures import plotly_address
from tuner.web.page_rendering import page
from tuner.web.parts import part
from tuner.web.web_setup import OpenedStudy, site_of

_MOST_RUNNING = 64
_MOST_REASONS = 20
_LONGEST_REASON = 300
# The best of more trials, and how they ended, is fetched once the page is shown.
_LARGE = 5000
# Figures that are drawn once their section is opened.
_FOLDED = frozenset({"parallel"})
# Its own section has it, with tracebacks.
_ELSEWHERE = frozenset({"failures"})
# How a state looks.
BADGES = {"running": "running", "done": "good", "paused": "warning", "stopped": "warning"}

T = TypeVar("T")

router = APIRouter()


class FigurePlace(NamedTuple):
    """A figure on the page. `follows`: the mark that changes it."""

    kind: str
    question: str
    follows: str
    is_folded: bool


@router.get("/studies/{uuid}")
def show_study(study: OpenedStudy, request: Request) -> Response:
    """A study's page; of a damaged one, what is wrong and what removes it."""
    store, row = study
    if (damage := _damage(row)) is not None:
        remove = command("study", "delete", in_command(row.name))
        name = printable(row.name)
        return page(request, "damaged_study.html", name=name, damage=damage, remove=remove)
    mark = read_mark(store, row)  # Before the rest: a change meanwhile is then noticed.
    return page(
        request,
        "study.html",
        mark=mark,
        study=row,
        name=printable(row.name),
        figures=_figures(row),
        plotly=plotly_address(),
        in_mlflow=tool_links.study_in_mlflow(row.uuid),
        in_dashboard=tool_links.study_in_dashboard(row.uuid),
        **_now(request, store, row, at_once=True),
    )


def _damage(study: StudyRow) -> str | None:
    try:
        _ = study.spec
    except SpecError as error:
        return study.damage or str(error.__cause__ or error)
    return study.damage


def _figures(study: StudyRow) -> list[FigurePlace]:
    """A comparison has none: nothing is searched, and its scores are in its table."""
    if study.spec.is_comparison:
        return []
    return [
        FigurePlace(
            kind, plot.question, "reports" if plot.follows_reports else "trials", kind in _FOLDED
        )
        for kind, plot in STUDY_PLOTS.items()
        if plot.suits(study.spec) and kind not in _ELSEWHERE
    ]


@router.get("/studies/{uuid}/now")
def show_now(study: OpenedStudy, request: Request) -> Response:
    """How far the study is, who works on it, and what runs."""
    store, row = study
    heading = f"Study {printable(row.name)}, now"
    return part(request, "study_now.html", heading, study=row, **_now(request, store, row))


def _now(request: Request, store: Store, study: StudyRow, at_once: bool = False) -> dict[str, Any]:
    """What study_now.html shows. `at_once`: without what takes long to read of a large study, for
    the first sight of the page: `is_outline` says that it has to be fetched."""
    progress = store.read(read_progress, study)
    running = running_trials(store, study)
    is_outline = at_once and progress.total > _LARGE
    standing, ends = (Standing(), {}) if is_outline else _trial_facts(request, store, study)
    return {
        "progress": progress,
        "badge": BADGES.get(progress.state_word, ""),
        "standstill": standstill_of(study, progress),
        "skipping": [each for each in progress.daemons if study.name in each.skipped],
        "standing": standing,
        "ends": ends,
        "running": running[:_MOST_RUNNING],
        "more_running": max(0, len(running) - _MOST_RUNNING),
        "is_outline": is_outline,
    }


def _trial_facts(
    request: Request, store: Store, study: StudyRow
) -> tuple[Standing, dict[str, int]]:
    """What changes only as trials end."""
    mark, results = read_mark(store, study), site_of(request).results

    def get(name: str, read: Callable[[Store, StudyRow], T]) -> T:
        key = (study.uuid, name)
        return results.get(key, mark.trials, mark.at_work, lambda: read(store, study))[1]

    return get("standing", read_standing), get("ends", count_ends)


@router.get("/studies/{uuid}/comparison")
def show_comparison(study: OpenedStudy, request: Request) -> Response:
    """A comparison's configurations, each with its score over the seeds so far."""
    store, row = study
    if not row.spec.is_comparison:
        raise HTTPException(404, "this study is no comparison")
    words = comparison_table(store, row).words()
    lines = [["–" if cell is None else str(cell) for cell in each.values()] for each in words]
    table = ChartTable(caption(row), list(words[0]), lines)
    heading = f"Comparison {printable(row.name)}"
    return part(request, "figure_table.html", heading, note="", tables=[table])


@router.get("/studies/{uuid}/failures")
def show_failures(study: OpenedStudy, request: Request) -> Response:
    """Why attempts failed, with a traceback for each reason."""
    store, row = study
    mark = read_mark(store, row)
    key = (row.uuid, "failures")
    _, failures = site_of(request).results.get(
        key, mark.trials, mark.at_work, lambda: read_failures(store, row)
    )
    return part(
        request,
        "study_failures.html",
        f"Failures of study {printable(row.name)}",
        study=row,
        failures=[_for_page(failure) for failure in failures[:_MOST_REASONS]],
        more=max(0, len(failures) - _MOST_REASONS),
    )


def _for_page(failure: Failure) -> dict[str, Any]:
    """A traceback may hold the URL of a database."""
    detail = without_secrets(failure.detail) if failure.detail else None
    reason = clipped(without_secrets(failure.reason), _LONGEST_REASON)
    return {
        "end": failure.end.replace("_", " "),
        "reason": reason,
        "attempts": failure.attempts,
        "trial": failure.trial,
        "detail": detail if detail != reason else None,
    }
