"""The table of a study's trials: pages of 50, sorted and filtered by the database.

All of it is links and forms, which work without a script. The address says everything: the column
it is sorted by, the filter, the page, and the trial that another one is to be compared with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from tuner.errors import UsageError
from tuner.reports.study_tables import trial_cells
from tuner.storage import Store
from tuner.storage.studies import StudyRow
from tuner.storage.trial_pages import NEWEST_FIRST, PAGE_TRIALS, TrialPage, read_trial_page
from tuner.storage.trials import TrialRow, table_row
from tuner.study.ends import TrialEnd
from tuner.values import format_number, word
from tuner.web.page_rendering import fragment, page
from tuner.web.parts import is_part
from tuner.web.web_setup import LARGEST_NUMBER, OpenedStudy

router = APIRouter()

_STATES = ("complete", "pruned", "fail", "running", "waiting", "paused")
_USUAL_ENDS = frozenset(end.value for end in TrialEnd if end.is_usual)
_LONGEST_TEXT = 2000


@dataclass(frozen=True)
class TableAddress:
    """What the address of a table says. `page`: from 1. `chosen`: the number of a trial that is to
    be compared with another."""

    uuid: str
    sort: str = ""
    filter: str = ""
    page: int = 1
    chosen: int | None = None

    @property
    def path(self) -> str:
        return f"/studies/{self.uuid}/trials"

    def __str__(self) -> str:
        asked = {
            "sort": self.sort,
            "filter": self.filter,
            "page": self.page if self.page > 1 else "",
            "chosen": "" if self.chosen is None else self.chosen,
        }
        query = urlencode({name: value for name, value in asked.items() if value != ""})
        return f"{self.path}?{query}" if query else self.path

    def but(self, **changes: Any) -> "TableAddress":
        """The address with these changes; on the first page, unless one is given."""
        return replace(self, **({"page": 1} | changes))


@dataclass(frozen=True)
class Heading:
    """A column's heading: a link that sorts by it, or the other way round."""

    name: str
    address: TableAddress
    order: str
    is_number: bool


@dataclass(frozen=True)
class TableCell:
    text: str
    is_number: bool


@dataclass(frozen=True)
class TableLine:
    """A trial's row. `number`: None if it cannot be read. `tone`: of the state's badge."""

    number: int | None
    state: str
    tone: str
    cells: list[TableCell]


@router.get("/studies/{uuid}/trials")
def show_trials(
    request: Request,
    opened: OpenedStudy,
    sort: Annotated[str, Query(max_length=_LONGEST_TEXT)] = "",
    filter: Annotated[str, Query(max_length=_LONGEST_TEXT)] = "",
    page_number: Annotated[int, Query(alias="page", ge=1, le=LARGEST_NUMBER)] = 1,
    chosen: Annotated[int | None, Query(ge=0, le=LARGEST_NUMBER)] = None,
) -> Response:
    """A page of the table. A mistake in the filter is one line in place of the trials."""
    store, study = opened
    address = TableAddress(study.uuid, sort, filter.strip(), page_number, chosen)
    values = _table(store, study, address)
    if is_part(request):
        return fragment(request, "trial_table.html", **values)
    return page(request, "trials.html", study=study, **values)


def _table(store: Store, study: StudyRow, address: TableAddress) -> Mapping[str, Any]:
    """What trial_table.html shows."""
    problem = ""
    try:
        trials = read_trial_page(store, study, address.sort, address.filter, address.page)
        address = replace(address, page=trials.number)
    except UsageError as error:
        problem = str(error)
        trials = _without_rows(read_trial_page(store, study))
    return {
        "address": address,
        "problem": problem,
        "trials": trials,
        "headings": _headings(trials, address),
        "lines": [_line(trial, trials) for trial in trials.rows],
        "first": (trials.number - 1) * PAGE_TRIALS + 1,
        "filters": {state: address.but(filter=f"state={state}") for state in _STATES},
        "ends": [str(end) for end in TrialEnd],
    }


def _without_rows(trials: TrialPage) -> TrialPage:
    return replace(trials, rows=[], matching=0, number=1)


def _headings(trials: TrialPage, address: TableAddress) -> list[Heading]:
    words = {"state", *_param_columns(trials)}
    headings = []
    for name in trials.columns:
        is_sorted = name == trials.column
        descending = not trials.is_descending if is_sorted else name in ("trial", "score")
        sort = f"{'-' * descending}{_quoted(name)}"
        order = ("descending" if trials.is_descending else "ascending") if is_sorted else ""
        link = address.but(sort="" if sort == NEWEST_FIRST else sort)
        headings.append(Heading(name, link, order, name not in words))
    return headings


def _quoted(name: str) -> str:
    """A column's name as `sort` takes it: in quotes if it could be read as something else."""
    return word(name) if name[:1] in ("-", '"', "'") else name


def _param_columns(trials: TrialPage) -> list[str]:
    return trials.columns[len(trials.columns) - len(trials.params) :]


def _line(trial: TrialRow, trials: TrialPage) -> TableLine:
    row = table_row(trial, only=trials.params)
    cells = list(trial_cells(row, trials.params).items())
    measured = len(trials.columns) - len(trials.params)
    _, (_, state), *values = cells
    return TableLine(
        number=row["trial"],
        state=state.replace("_", " "),
        tone=state_tone(trial),
        cells=[
            _measured(name, value) if place < measured else TableCell(format_value(value), False)
            for place, (name, value) in enumerate(values, start=2)
        ],
    )


def _measured(name: str, value: Any) -> TableCell:
    if name == "seconds" and value is not None:
        return TableCell(f"{value:,.1f}", True)
    return TableCell(
        format_number(value) if isinstance(value, float) else format_value(value), True
    )


def state_tone(trial: TrialRow) -> str:
    """The class of the badge of a trial's state."""
    if trial.damage or trial.state == "FAIL":
        return "bad"
    if trial.state in ("RUNNING", "COMPLETE"):
        return {"RUNNING": "running", "COMPLETE": "good"}[trial.state]
    is_usual = trial.end is None or trial.end in _USUAL_ENDS
    return "" if trial.state == "WAITING" or is_usual else "warning"


def format_value(value: Any) -> str:
    """A parameter's value as people read it; a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(format_value(each) for each in value)
    if isinstance(value, bool):
        return word(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
