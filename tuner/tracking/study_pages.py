"""What MLflow's pages show of a study besides its runs.

A saved view of the experiment lists the study's trials side by side: its columns, order and charts.
MLflow keeps it in a tag of the experiment and lists it in the page's menu "Views". The description
of the study's own run says how far the search is, and leads to that view.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.storage import deliveries
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow, load_study
from tuner.storage.trials import summarize
from tuner.study.spec import StudySpec
from tuner.system.names import is_valid
from tuner.tracking.client import Client, open_existing_client, tracking_errors
from tuner.tracking.content import UUID_TAG, allowed_key, best_key, tag_value, to_milliseconds
from tuner.tracking.experiments import find_run, is_active, is_own_run
from tuner.tracking.links import charts_page, run_page, trials_page, view_key

_NOTE_TAG = "mlflow.note.content"
_VIEW_TAG = "mlflow.sharedViewState."
# Around our part of a description. MLflow shows no comments.
_BEGIN, _END = "<!-- tuner -->", "<!-- /tuner -->"
# MLflow lets people save 40 views in an experiment; half of them stay theirs.
_MOST_LISTED = 20
# A tag of an experiment holds 20 000 characters; a parameter takes some 120.
_MOST_COLUMNS = 60
_MOST_AXES = 20
# Metrics that are one bar for each trial. All but the score were sent by earlier versions.
_BARS = ("score", "best_epoch", "epochs", "seconds", "parameter_count")


def keep_view(client: Client, study: StudyRow, experiment_id: str) -> None:
    """Save the study's view in its experiment, if it is not there."""
    view = missing_view(client.get_experiment(experiment_id).tags, study)
    if view is None:
        return
    try:
        client.set_experiment_tag(experiment_id, view_tag(study), view)
    except Exception as error:
        # A server of an earlier version takes shorter tags. The runs are worth more than the view.
        if getattr(error, "error_code", None) != "INVALID_PARAMETER_VALUE":
            raise


def drop_view(client: Client, study: StudyRow, experiment: Any) -> None:
    """Remove the study's view from an experiment."""
    if view_tag(study) in experiment.tags:
        client.delete_experiment_tag(experiment.experiment_id, view_tag(study))


def keep_note(
    client: Client, store: Store, study: StudyRow, experiment_id: str, run_id: str
) -> None:
    """Bring the description of the study's own run up to date. What people wrote there stays, also
    if they replaced all of it."""
    present = client.get_run(run_id).data.tags.get(_NOTE_TAG, "")
    before, begin, rest = present.partition(_BEGIN)
    after = rest.partition(_END)[2]
    if present.strip() and not begin:
        return
    text = _note(store, study, experiment_id)
    note = tag_value(f"{before}{_BEGIN}\n{text}\n{_END}{after}")
    if note != present:
        client.set_tag(run_id, _NOTE_TAG, note)


def _note(store: Store, study: StudyRow, experiment_id: str) -> str:
    """Markdown of few lines: MLflow folds longer descriptions."""
    summary = summarize(store, study)
    ends = ", ".join(f"{count} {end.replace('_', ' ')}" for end, count in summary.ends.items())
    best = summary.best.trial
    trials = f"{summary.trials:,} trial{'s' * (summary.trials != 1)}"
    counts = f"{trials}: {ends}." if ends else "No trial yet."
    if best is not None and best.value is not None:
        run_id = deliveries.known_runs(store, study, best.trial_id).get(best.trial_id)
        name = f"trial {best.number}"
        link = f"[{name}]({run_page(experiment_id, run_id)})" if run_id else name
        counts += f" Best: {link}, {study.spec.metric} {best.value:.6g}."
    table, charts = trials_page(experiment_id, study), charts_page(experiment_id, study)
    return f"[**All trials side by side**]({table}), or [as charts]({charts}).\n\n{counts}"


def find_pages(store: Store, tracking_uri: str, names: Sequence[str]) -> dict[str, str]:
    """The pages with the trials of those studies that MLflow has runs of, by the studies' names.
    Views that are not there are saved. Raises TunerError."""
    studies = [load_study(store, name) for name in names]
    sent = [
        (study, delivery)
        for study in studies
        if (delivery := deliveries.read_delivery(store, study)) is not None
    ]
    client = open_existing_client(tracking_uri) if sent else None
    pages: dict[str, str] = {}
    for study, delivery in sent if client is not None else ():
        with tracking_errors():
            run = find_run(client, delivery.run_id)
            if run is not None and is_active(run.info) and is_own_run(run, study, remembered=True):
                keep_view(client, study, run.info.experiment_id)
                pages[study.name] = trials_page(run.info.experiment_id, study)
    return pages


def view_tag(study: StudyRow) -> str:
    """The tag of the experiment that holds the study's view."""
    return _VIEW_TAG + view_key(study)


def missing_view(tags: Mapping[str, str], study: StudyRow) -> str | None:
    """The study's view in MLflow's own form, if the experiment's tags do not hold it yet."""
    state = json.dumps(_view_state(study))
    created_at = to_milliseconds(study.created_at.timestamp()) if study.created_at else 0
    times = {"createdAt": created_at, "updatedAt": created_at}
    listed = json.dumps({"name": f"{study.name}: trials, best first", **times, "state": state})
    present = tags.get(view_tag(study))
    if present in (listed, state):
        return None
    others = sum(tag.startswith(_VIEW_TAG) for tag in tags.keys() - {view_tag(study)})
    # The link works also for a view that the menu does not list.
    return listed if others < _MOST_LISTED else state


def _view_state(study: StudyRow) -> dict[str, Any]:
    """What MLflow's page of runs restores from a view."""
    spec = study.spec
    varying = [allowed_key(name) for name in spec.space.varying()][:_MOST_COLUMNS]
    columns = [f"metrics.`{name}`" for name in ("score", *map(best_key, spec.beside_score))]
    columns += [*(f"params.`{name}`" for name in varying), "tags.`end`"]
    widths = {"attributes.`Run Name`": 120, "runDateAndNestInfo": 150}
    widths |= {name: max(90, 7 * len(name) - 35) for name in columns}
    return {
        "searchFilter": _filter(study),
        "orderByKey": "metrics.`score`",
        "orderByAsc": spec.direction == "minimize",
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", "runDateAndNestInfo", *columns],
        "columnWidths": widths,
        "isAccordionReordered": True,  # the sections keep their order
        "compareRunSections": [_section("curves", "Model metrics"), _section("axes", "Parameters")],
        "compareRunCharts": _charts(spec),
    }


def _filter(study: StudyRow) -> str:
    """The study's trials, as one types it into MLflow's search box."""
    if is_valid(study.name) and study.experiment == study.name:
        return f'tags.study = "{study.name}"'
    # Several people may name their studies alike in one experiment.
    return f'tags.`{UUID_TAG}` = "{study.uuid}" AND tags.trial != ""'


def _section(uuid: str, name: str) -> dict[str, Any]:
    # Reordered: charts that MLflow adds come after ours.
    section = {"uuid": uuid, "name": name, "display": True, "isReordered": True}
    wide = {"columns": 1, "cardHeight": 450} if uuid == "axes" else {}
    return section | {"deleted": False, "isGenerated": False} | wide


def _charts(spec: StudySpec) -> list[dict[str, Any]]:
    """The curves of the objective, recorded metrics and losses, then the parameters with the score.
    MLflow adds charts of the other metrics by itself, but not of those whose chart is deleted."""
    curves = dict.fromkeys([spec.metric, *spec.beside_score, "val_loss", "loss"])
    charts = [_chart("LINE", "curves", metricKey=allowed_key(name)) for name in curves]
    # MLflow leaves out runs that lack one of the parameters.
    common = [row.name for row in spec.space.rows() if not row.condition]
    axes = [allowed_key(name) for name in spec.space.varying() if name in common][:_MOST_AXES]
    if axes:
        chosen = {"selectedParams": axes, "selectedMetrics": ["score"], "showAllRuns": True}
        charts.append(_chart("PARALLEL", "axes", **chosen))
    bars = [*_BARS, *map(best_key, spec.beside_score)]
    return charts + [_chart("BAR", "curves", metricKey=name, deleted=True) for name in bars]


def _chart(kind: str, section: str, **more: Any) -> dict[str, Any]:
    uuid = more.get("metricKey", section)
    own = {"uuid": uuid, "type": kind, "metricSectionId": section, "runsCountToCompare": 10}
    if kind == "LINE":
        own |= {"displayName": uuid, "xAxisKey": "step", "yAxisKey": "metric"}
        own |= {"xAxisScaleType": "linear", "scaleType": "linear", "range": {}}
        own |= {"useGlobalXaxisKey": True, "useGlobalLineSmoothing": True, "yAxisExpressions": []}
    return own | {"deleted": False, "isGenerated": False} | more
