"""The figures of a study: charts of `reports/` as JSON that static/figures.js draws with Plotly,
and as tables. The script of Plotly comes from its wheel."""

import functools
import gzip
import importlib.util
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from tuner.errors import SpecError, StudyError, TunerError
from tuner.reports.chart_tables import chart_tables
from tuner.reports.charts import Chart, thinned
from tuner.reports.interactive_charts import interactive
from tuner.reports.study_plots import STUDY_PLOTS, study_chart
from tuner.storage import Store
from tuner.storage.change_marks import read_mark
from tuner.storage.studies import StudyRow
from tuner.system.names import install_command
from tuner.web.parts import part
from tuner.web.web_setup import OpenedStudy, site_of

# More points of one kind take a browser long, and cannot be told apart.
_MOST_POINTS = 1500
# Which parameters matter, and their slices, are computed from so many trials of a larger study.
_MOST_TRIALS = 1500
_CACHE = "private, max-age=31536000, immutable"

router = APIRouter()


def figure_json(chart: Chart) -> dict[str, object]:
    """What an element with `data-figure` is drawn from."""
    return interactive(thinned(chart, _MOST_POINTS))


@router.get("/studies/{uuid}/figures/{kind}")
def show_figure(kind: str, study: OpenedStudy, request: Request, have: str = "") -> Response:
    """The chart of that kind with its `mark`, or a `note` why there is none. 204 where the page
    has that of the mark `have`."""
    mark, drawn = _kept_chart(request, *study, kind)
    if mark == have:
        return Response(status_code=204)
    content = {"note": drawn} if isinstance(drawn, str) else figure_json(drawn)
    return JSONResponse({"mark": mark} | content)


@router.get("/studies/{uuid}/figures/{kind}/table")
def show_figure_table(kind: str, study: OpenedStudy, request: Request) -> Response:
    """The same chart as tables."""
    _, drawn = _kept_chart(request, *study, kind)
    is_note = isinstance(drawn, str)
    tables = [] if isinstance(drawn, str) else chart_tables(drawn)
    return part(
        request,
        "figure_table.html",
        STUDY_PLOTS[kind].question,
        note=drawn if is_note else "",
        tables=tables,
    )


def _kept_chart(
    request: Request, store: Store, study: StudyRow, kind: str
) -> tuple[str, Chart | str]:
    """The chart, or why there is none, and the mark of what it was drawn from. Raises 404."""
    if kind not in STUDY_PLOTS:
        raise HTTPException(404, f"there is no figure {kind!r}")
    mark = read_mark(store, study)
    wanted = mark.reports if STUDY_PLOTS[kind].follows_reports else mark.trials
    key, results = (study.uuid, "figure", kind), site_of(request).results
    return results.get(key, wanted, mark.at_work, lambda: _chart(store, study, kind))


def _chart(store: Store, study: StudyRow, kind: str) -> Chart | str:
    try:
        chart, _ = study_chart(store, study, kind, most=_MOST_TRIALS)
    except (StudyError, SpecError) as error:
        # What to run is said once, at the top of the study's page.
        return str(error).partition("; run: ")[0]
    return chart


@router.get("/static/plotly.min.js")
def send_plotly(request: Request) -> Response:
    """Plotly's script. Its address has its version, so browsers ask for it once."""
    file = _plotly_file()
    headers = {"cache-control": _CACHE}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return FileResponse(file, media_type="text/javascript", headers=headers)
    headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
    return Response(_packed(file), media_type="text/javascript", headers=headers)


def plotly_address() -> str:
    """Where a page finds Plotly's script."""
    return f"/static/plotly.min.js?v={version('plotly')}"


@functools.cache
def _plotly_file() -> Path:
    """Found without importing Plotly, which takes a second."""
    spec = importlib.util.find_spec("plotly")
    folders = None if spec is None else spec.submodule_search_locations
    if not folders:
        raise TunerError(f"plotly is not installed: {install_command('plotly')}")
    return Path(folders[0]) / "package_data" / "plotly.min.js"


@functools.cache
def _packed(file: Path) -> bytes:
    """A third of its 4.8 MB."""
    return gzip.compress(file.read_bytes(), 5)
