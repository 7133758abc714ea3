"""What a notebook shows of studies, trials and a running search."""

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import ModuleType, SimpleNamespace
from typing import Any

import IPython.display
import pytest

from tuner.api.notebook import CellProgress, in_notebook, study_html, trial_html
from tuner.runner.progress import RunStatus, WorkerStatus
from tuner.study.ends import TrialEnd

HOSTILE = "<img src=x onerror=alert(1)>&\"'"


@dataclass
class AnyTrial:
    number: int
    value: float | None = None
    state: str = "complete"
    end: str | None = "complete"
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    error: str | None = None


@dataclass
class AnyStudy:
    trials: list[AnyTrial]
    direction: str = "maximize"
    name: str = "digits"
    metric: str = "val_accuracy"


class Reader(HTMLParser):
    """The words of a page, the cells of its tables, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.tags[-1] in ("td", "th") and self.rows:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return "".join(self.words)


@pytest.mark.parametrize(("direction", "order"), [("maximize", "3 2 1"), ("minimize", "1 2 3")])
def test_a_study_shows_its_best_trials_and_what_varies(direction: str, order: str) -> None:
    trials = [
        AnyTrial(n, n / 10, params={"width": 16 * n, "layers": [n, 2], "epochs": 5})
        for n in (1, 2, 3)
    ]
    trials += [
        AnyTrial(4, 0.99, "pruned", "pruned"),
        AnyTrial(5, None, "pruned", "diverged"),
        AnyTrial(6, None, "running", None),
    ]
    page = Reader(study_html(AnyStudy(trials, direction)))
    head, *rows = page.rows
    assert head == ["trial", "val_accuracy", "width", "layers"]
    assert [row[0] for row in rows] == order.split()
    assert ["2", "0.2000", "32", "[2, 2]"] in rows
    ends = f"study digits, val_accuracy ({direction}): 3 complete, 1 pruned, 1 diverged, 1 running"
    assert page.text.startswith(ends)


def test_a_study_without_trials_and_one_with_many_parameters() -> None:
    assert Reader(study_html(AnyStudy([]))).text.endswith("no trial yet")
    names = [f"p{number}" for number in range(20)]
    trials = [AnyTrial(n, 0.5, params=dict.fromkeys(names, n)) for n in range(9)]
    page = Reader(study_html(AnyStudy(trials)))
    assert len(page.rows) == 6
    assert page.text.endswith("and 12 more parameters that vary")


def test_a_trial_shows_its_metrics_its_parameters_and_its_error() -> None:
    trial = AnyTrial(
        7,
        0.51234,
        "fail",
        "user_error",
        {"width": 16, "epochs": 5},
        {"loss": 0.25, "val_loss": 1 / 3},
        61.0,
        "Traceback:\n  file.py\nValueError: no",
    )
    page = Reader(trial_html(trial, ["width"]))
    assert page.text.startswith("trial 7: user error, score 0.5123, 1:01")
    assert page.text.endswith("Traceback:\n  file.py\nValueError: no")
    rows = [["best epoch", ""], ["loss", "0.2500"], ["val_loss", "0.3333"]]
    assert page.rows == [*rows, ["parameter", ""], ["width", "16"]]
    assert ["epochs", "5"] in Reader(trial_html(trial)).rows


def test_names_and_values_of_a_database_are_escaped() -> None:
    trial = AnyTrial(0, 0.5, params={HOSTILE: HOSTILE}, metrics={HOSTILE: 0.1}, error=HOSTILE)
    other = AnyTrial(1, 0.4, HOSTILE, HOSTILE, params={HOSTILE: 1})
    for page in (
        study_html(AnyStudy([trial, other], name=HOSTILE, metric=HOSTILE)),
        trial_html(trial),
        trial_html(other),
    ):
        assert "<img" not in page
        assert set(Reader(page).tags) <= {
            "div",
            "b",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "pre",
        }
        assert HOSTILE in Reader(page).text


class Cell:
    """Records what `display` and its handle are given."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.is_gone = False

    def display(self, picture: Any, display_id: bool) -> "Cell":
        assert display_id
        self.update(picture)
        return self

    def update(self, picture: Any) -> None:
        if self.is_gone:
            raise ConnectionError
        self.shown.append(picture)

    @property
    def page(self) -> Reader:
        return Reader(self.shown[-1]._repr_html_())


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    cell = Cell()
    monkeypatch.setattr(IPython.display, "display", cell.display)
    return cell


def a_status(**values: Any) -> RunStatus:
    workers = [WorkerStatus(7, 3, 20, 0.95), WorkerStatus()]
    ended = {TrialEnd.PRUNED: 2}
    return RunStatus(20, 7, 0.97123, 3, ended, workers, 7, 42.0, **values)


def test_a_search_is_shown_in_its_cell_and_leaves_a_line(cell: Cell) -> None:
    with CellProgress("digits", "val_accuracy") as progress:
        progress.changed(a_status())
        assert cell.page.rows[1:] == [
            ["worker 0", "7", "3/20", "val_accuracy 0.9500"],
            ["worker 1", "idle", "", ""],
        ]
        assert cell.page.text.endswith("2 pruned, 0:42, 1:18 left")
        shown = len(cell.shown)
        progress.changed(a_status())
        assert len(cell.shown) == shown  # it is not redrawn at each change
        progress.trial_ended(a_status(), 5, TrialEnd.DIVERGED, None, False)
        progress.stage("sending to MLflow")
        assert cell.page.text.endswith("sending to MLflow …")
    line = "study digits, 7/20 trials, best val_accuracy 0.9712 (trial 3), 2 pruned, 0:42"
    assert cell.page.text == f"trial 5: diverged{line}"
    assert cell.page.rows == []
    assert repr(cell.shown[-1]) == line


def test_a_cell_escapes_names_and_keeps_the_last_failures(cell: Cell) -> None:
    with CellProgress(HOSTILE, HOSTILE) as progress:
        progress.changed(a_status())
        assert set(cell.page.tags) <= {"div", "table", "thead", "tbody", "tr", "th", "td"}
        for number in range(7):
            progress.trial_ended(a_status(), number, TrialEnd.DIVERGED, None, False)
    assert cell.page.text.startswith("trial 2: diverged")
    assert set(cell.page.tags) == {"div"}
    assert f"study {HOSTILE}, " in cell.page.text


@pytest.mark.parametrize(
    ("error", "end"), [(KeyboardInterrupt, "interrupted"), (ValueError, "ended by an error")]
)
def test_how_a_search_ended_is_said(cell: Cell, error: type[BaseException], end: str) -> None:
    with pytest.raises(error), CellProgress("digits", "val_accuracy"):
        raise error
    assert cell.page.text == f"study digits, {end}"


def test_a_search_goes_on_without_its_notebook(cell: Cell) -> None:
    with CellProgress("digits", "val_accuracy") as progress:
        cell.is_gone = True
        progress.changed(a_status())
        progress.stage("later")
    assert len(cell.shown) == 1


def test_only_a_kernel_is_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = ModuleType("IPython")
    monkeypatch.setitem(sys.modules, "IPython", fake)
    assert not in_notebook()
    for shell, is_notebook in (
        (None, False),
        (SimpleNamespace(), False),
        (SimpleNamespace(kernel=1), True),
    ):
        monkeypatch.setattr(fake, "get_ipython", lambda shell=shell: shell, raising=False)
        assert in_notebook() is is_notebook
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()
