"""The page of a trial, and two trials side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse

from tuner.errors import StudyError
from tuner.reports.chart_tables import chart_tables
from tuner.reports.charts import Chart
from tuner.reports.lineages import read_lineage
from tuner.reports.study_tables import TrialReport, report_trial
from tuner.reports.trial_curves import curves_chart
from tuner.reports.trial_log import read_trial_log
from tuner.storage import Store
from tuner.storage.attempt_rows import AttemptPlace, AttemptRow, attempt_places
from tuner.storage.deliveries import read_notes
from tuner.storage.studies import StudyRow
from tuner.storage.trials import (
    TrialRow,
    last_report_step,
    trial_curve,
    varying_params,
)
from tuner.study.ends import outcome
from tuner.system.secret_masking import without_secrets
from tuner.values import format_duration, format_number
from tuner.web import tool_links
from tuner.web.figures import figure_json, plotly_address
from tuner.web.page_rendering import page
from tuner.web.parts import part
from tuner.web.trial_table import format_value, state_tone
from tuner.web.web_setup import OpenedStudy, opened_trial, site_of

router = APIRouter()

_COMPARED = 2


@dataclass(frozen=True)
class Fact:
    """A line of a comparison or of a list of facts: its values, and whether they differ."""

    name: str
    values: list[str]
    differs: bool = False


@dataclass(frozen=True)
class Attempt:
    """A row of a trial's attempts. `detail`: a traceback, or why it ended."""

    row: AttemptRow
    place: str
    end: str
    detail: str


@router.get("/studies/{uuid}/trials/{number}")
def show_trial(request: Request, opened: OpenedStudy, number: int) -> Response:
    """One trial: its curves, params and attempts, and what was logged of it."""
    store, study = opened
    trial = opened_trial(store, study, number)
    return page(
        request,
        "trial.html",
        study=study,
        plotly=plotly_address(),
        in_mlflow=tool_links.trial_in_mlflow(study.uuid, number),
        in_dashboard=tool_links.trial_in_dashboard(study.uuid, number),
        attempts=_attempts(store, study, trial),
        log=read_trial_log(site_of(request).setup.settings, study, number),
        **_now(store, study, trial),
    )


@router.get("/studies/{uuid}/trials/{number}/now")
def show_trial_now(request: Request, opened: OpenedStudy, number: int) -> Response:
    """The part of the page that changes while the trial runs."""
    store, study = opened
    trial = opened_trial(store, study, number)
    values = _now(store, study, trial)
    return part(request, "trial_now.html", f"Trial {number}, now", study=study, **values)


def _now(store: Store, study: StudyRow, trial: TrialRow) -> dict[str, Any]:
    notes = read_notes(store, study, trial.trial_id)
    lineage = read_lineage(store, study, trial)
    report = report_trial(study, trial, trial_curve(store, study, trial), notes, lineage)
    varying = varying_params(store, study)
    named = {name: format_value(value) for name, value in trial.params.items()}
    return {
        "trial": trial,
        "state": _state(trial),
        "tone": state_tone(trial),
        "facts": _facts(study, trial, report),
        "schedule": _schedule(report),
        "varying": {name: value for name, value in named.items() if name in varying},
        "fixed": {name: value for name, value in named.items() if name not in varying},
        "may_stop": trial.state == "RUNNING",
        "may_promote": trial.state == "COMPLETE" and not study.spec.is_comparison,
        "may_retry": trial.state in ("COMPLETE", "PRUNED", "FAIL")
        and not study.spec.is_comparison
        and not trial.damage,
    }


@router.get("/studies/{uuid}/trials/{number}/attempts")
def show_attempts(request: Request, opened: OpenedStudy, number: int) -> Response:
    """Its attempts, with the tracebacks of those that failed."""
    store, study = opened
    attempts = _attempts(store, study, opened_trial(store, study, number))
    return part(request, "trial_attempts.html", f"Attempts of trial {number}", attempts=attempts)


@router.get("/studies/{uuid}/trials/{number}/log")
def show_log(request: Request, opened: OpenedStudy, number: int) -> Response:
    """The end of what its search logged while it ran."""
    store, study = opened
    opened_trial(store, study, number)
    log = read_trial_log(site_of(request).setup.settings, study, number)
    return part(request, "trial_log.html", f"Log of trial {number}", log=log)


def _state(trial: TrialRow) -> str:
    if trial.damage:
        return "damaged"
    return outcome(trial.state.lower(), trial.end).replace("_", " ")


def _facts(study: StudyRow, trial: TrialRow, report: TrialReport) -> list[Fact]:
    last = trial.last
    engine = last.engine if last else None
    if engine and report.engine_reason:
        engine = f"{engine}, because {report.engine_reason}"
    facts = {
        study.spec.metric: format_number(trial.value),
        **{name: format_number(value) for name, value in trial.metrics.items()},
        "best epoch": format_value(last.best_epoch if last else None),
        "epochs": format_value(last.epochs if last else None),
        "time": format_duration(trial.seconds),
        "parameters of the network": f"{last.parameter_count:,}"
        if last and last.parameter_count
        else None,
        "engine": engine,
        "saved network": last.model_path if last else None,
        **{
            name.replace("_", " "): str(report.facts[name])
            for name in ("generation", "member", "goes_on_from")
            if report.facts.get(name) is not None
        },
        "repeats trial": None if trial.retry_of is None else str(trial.retry_of),
        "damage": trial.damage,
        **{name: format_value(value) for name, value in report.facts.get("logged", {}).items()},
    }
    return [Fact(name, [text]) for name, text in facts.items() if text is not None]


def _schedule(report: TrialReport) -> list[dict[str, str]]:
    """A row for each generation of the trial's lineage, as texts by column."""
    return [
        {name.replace("_", " "): format_value(value) for name, value in row.items()}
        for row in report.schedule
    ]


def _attempts(store: Store, study: StudyRow, trial: TrialRow) -> list[Attempt]:
    places = attempt_places(store, study, trial.trial_id)
    attempts = []
    for row in trial.attempts:
        words = _where(row, places.get(row.attempt))
        end = (row.end or "running").replace("_", " ")
        attempts.append(Attempt(row, words, end, without_secrets(row.detail or "")))
    return attempts


def _where(attempt: AttemptRow, search: AttemptPlace | None) -> str:
    """Where an attempt was trained, and by which search; "" where neither is known."""
    trained_on = attempt.place_text
    if search is None:
        return f"worker {attempt.worker} on {trained_on}" if trained_on else ""
    how = "a daemon" if search.has_daemon else "in the foreground"
    searched_on = f"{search.host} (pid {search.pid}, {how})"
    if trained_on is None:
        return f"worker {attempt.worker} on {searched_on}"
    return f"worker {attempt.worker} on {trained_on}, of the search on {searched_on}"


@router.get("/studies/{uuid}/trials/{number}/curves")
def show_curves(opened: OpenedStudy, number: int, have: str = "") -> Response:
    """The trial's curves, for figures.js."""
    return _figure(*opened, [number], have)


@router.get("/studies/{uuid}/trials/{number}/curves/table")
def show_curves_table(request: Request, opened: OpenedStudy, number: int) -> Response:
    """The same as tables."""
    return _table(request, *opened, [number])


@router.get("/studies/{uuid}/compare")
def compare_trials(
    request: Request, opened: OpenedStudy, trial: Annotated[list[int], Query(max_length=_COMPARED)]
) -> Response:
    """Two trials side by side: what differs is marked."""
    store, study = opened
    if len(set(trial)) != _COMPARED:
        raise HTTPException(400, "name two different trials: compare?trial=1&trial=2")
    pair = [opened_trial(store, study, number) for number in trial]
    reports = [report_trial(study, each, trial_curve(store, study, each)) for each in pair]
    facts = [
        {fact.name: fact.values[0] for fact in _facts(study, each, report)}
        for each, report in zip(pair, reports, strict=True)
    ]
    params = [{name: format_value(value) for name, value in each.params.items()} for each in pair]
    lines = _side_by_side(params)
    return page(
        request,
        "compare.html",
        study=study,
        plotly=plotly_address(),
        pair=[(each.number, _state(each), state_tone(each)) for each in pair],
        differing=[line for line in lines if line.differs],
        same=[line for line in lines if not line.differs],
        facts=[replace(fact, differs=False) for fact in _side_by_side(facts)],
    )


def _side_by_side(columns: Sequence[dict[str, str]]) -> list[Fact]:
    names = dict.fromkeys(name for column in columns for name in column)
    lines = [(name, [column.get(name, "–") for column in columns]) for name in names]
    return [Fact(name, values, len(set(values)) > 1) for name, values in lines]


@router.get("/studies/{uuid}/compare/{first}/{second}/curves")
def show_both_curves(opened: OpenedStudy, first: int, second: int, have: str = "") -> Response:
    """The objective of both trials in one figure."""
    return _figure(*opened, [first, second], have)


@router.get("/studies/{uuid}/compare/{first}/{second}/curves/table")
def show_both_curves_table(
    request: Request, opened: OpenedStudy, first: int, second: int
) -> Response:
    """The same as tables."""
    return _table(request, *opened, [first, second])


def _figure(store: Store, study: StudyRow, numbers: Sequence[int], have: str) -> Response:
    trials = [opened_trial(store, study, number) for number in numbers]
    mark = " ".join(f"{trial.state} {last_report_step(store, study, trial)}" for trial in trials)
    if mark == have:
        return Response(status_code=204)
    drawn = _chart(store, study, numbers)
    content = {"note": drawn} if isinstance(drawn, str) else figure_json(drawn)
    return JSONResponse({"mark": mark} | content)


def _table(request: Request, store: Store, study: StudyRow, numbers: Sequence[int]) -> Response:
    for number in numbers:
        opened_trial(store, study, number)
    drawn = _chart(store, study, numbers)
    is_note = isinstance(drawn, str)
    return part(
        request,
        "figure_table.html",
        f"Curves of trial{'s' * (len(numbers) > 1)} {' and '.join(map(str, numbers))}",
        note=drawn if is_note else "",
        tables=[] if isinstance(drawn, str) else chart_tables(drawn),
    )


def _chart(store: Store, study: StudyRow, numbers: Sequence[int]) -> Chart | str:
    """The chart, or why there is none."""
    try:
        return curves_chart(store, study, numbers)
    except StudyError as error:
        return str(error)
