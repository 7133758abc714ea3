"""The start page: all studies, and who works on them."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from tuner.reports.standing import read_baseline
from tuner.reports.study_lines import StudyLine, read_study_lines
from tuner.reports.worker_tables import read_workers
from tuner.storage import Store
from tuner.storage.change_marks import read_mark
from tuner.storage.studies import how_to_create
from tuner.study.messages import rank
from tuner.system.names import command, printable
from tuner.values import format_number
from tuner.web.page_rendering import page
from tuner.web.parts import part
from tuner.web.study_page import BADGES
from tuner.web.web_setup import site_of

_PER_PAGE = 50
# A part of a name may be looked for where there are more studies than this.
_FEW = 10

router = APIRouter()


@dataclass(frozen=True)
class Shown:
    """A study as the table shows it. `gain`: its best score less its baseline's, with a sign; ""
    where it has none."""

    line: StudyLine
    name: str
    badge: str
    best: float | None = None
    gain: str = ""


@router.get("/")
def show_start(
    request: Request,
    find: Annotated[str, Query(max_length=200)] = "",
    number: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
) -> Response:
    """The studies, newest first, and who is at work."""
    return page(request, "start.html", **_overview(request, find, number))


@router.get("/overview")
def show_overview(
    request: Request,
    find: Annotated[str, Query(max_length=200)] = "",
    number: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
) -> Response:
    """The part of it that follows the database."""
    return part(request, "overview.html", "Studies", **_overview(request, find, number))


def _overview(request: Request, find: str, number: int) -> dict[str, Any]:
    store = site_of(request).store()
    lines = [] if store is None else _lines(request, store)
    matching = [line for line in lines if find.casefold() in line.study.name.casefold()]
    pages = max(1, -(-len(matching) // _PER_PAGE))
    number = min(number, pages)
    shown = matching[(number - 1) * _PER_PAGE : number * _PER_PAGE]
    workers = [] if store is None else read_workers(store)
    return {
        "studies": [_shown(request, store, line) for line in shown] if store else [],
        "total": len(lines),
        "matching": len(matching),
        "may_find": len(lines) > _FEW or find != "",
        "find": find,
        "page_number": number,
        "pages": pages,
        "workers": workers,
        "waiting": [line.study.name for line in lines if line.waits] if not workers else [],
        "create": how_to_create().rpartition(": ")[2],
        "work": command("worker"),
    }


def _lines(request: Request, store: Store) -> list[StudyLine]:
    mark = read_mark(store)
    _, lines = site_of(request).results.get(
        "studies", mark.trials, mark.at_work, lambda: read_study_lines(store)
    )
    return lines


def _shown(request: Request, store: Store, line: StudyLine) -> Shown:
    badge = "bad" if line.damage else BADGES.get(line.progress.state_word, "")
    name = printable(line.study.name)
    if line.damage or line.facts is None or line.best is None:
        return Shown(line, name, badge)
    direction, baseline = line.facts.direction, _baseline(request, store, line)
    if baseline is None:
        return Shown(line, name, badge, line.best)
    # Read later than the line, the baseline may have ended since; it is one of the trials.
    best = min(line.best, baseline, key=lambda score: rank(score, direction))
    gain = best - baseline
    sign = "±" if gain == 0 else "+" if gain > 0 else "−"
    return Shown(line, name, badge, best, sign + format_number(abs(gain)))


def _baseline(request: Request, store: Store, line: StudyLine) -> float | None:
    """The score of the study's baseline, read again only once its trials have changed."""
    _, trial = site_of(request).results.get(
        (line.study.uuid, "baseline"),
        line.mark,
        line.progress.running_count > 0,
        lambda: read_baseline(store, line.study),
    )
    return None if trial is None else trial.value
