"""Charts of how a study comes along, and charts as Plotly's JSON and as tables."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
import trial_writes
from objective_studies import ObjectiveStudies
from optuna.trial import create_trial
from toy_study import ANY_X, toy_spec

from tuner.errors import StudyError
from tuner.reports.chart_tables import chart_tables
from tuner.reports.charts import Axis, Bars, Chart, Form, Panel, Parallel, Scale, Series, thinned
from tuner.reports.interactive_charts import interactive
from tuner.reports.plotted_study import PlottedStudy
from tuner.reports.standing import read_standing
from tuner.reports.study_plots import study_chart
from tuner.storage import Store, leases, open_store, slots
from tuner.storage.attempt_rows import record_report
from tuner.storage.schema import attempts
from tuner.storage.studies import StudyRow, create_study
from tuner.storage.trials import list_trials
from tuner.study.messages import Report


@pytest.fixture
def own_store(made_tables: Path, tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "tuner.db").write_bytes(made_tables.read_bytes())
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield store
    store.close()


def add_trial(store: Store, study: StudyRow, x: float, *values: float) -> None:
    """A completed trial that no loop ran."""
    space = study.spec.space
    flat = space.flatten({"x": x})
    known = {name: each for name, each in space.distributions().items() if name in flat}
    params = {name: flat[name] for name in known}
    trial = create_trial(params=params, distributions=known, values=values)
    optuna.load_study(study_name=study.name, storage=store.optuna).add_trial(trial)


def work(store: Store, study: StudyRow, spans: Mapping[int, tuple[float, float, str]]) -> None:
    """Attempts of these trials, by number: when they began and ended, and how."""
    ids = {trial.number: trial.trial_id for trial in list_trials(store, study)}
    rows = [
        {"study_uuid": study.uuid, "trial_id": ids[number], "attempt": attempt, "loop_id": "loop"}
        | {"worker": 0, "started_at": begun, "ended_at": ended, "end": end}
        for attempt, (number, (begun, ended, end)) in enumerate(spans.items(), start=1)
    ]
    with store.writing() as connection:
        connection.execute(sa.insert(attempts), rows)


def by_label(panel: Any) -> dict[str, Series]:
    return {series.label: series for series in panel.series}


@pytest.fixture
def searched(own_store: Store) -> StudyRow:
    """The baseline scores 0.5; trial 2 ended before trial 1."""
    study = create_study(own_store, "toy", toy_spec({"x": ANY_X}, [{"x": 0.25}]))
    for x, score in ((0.25, 0.5), (0.5, 0.4), (0.75, 0.8)):
        add_trial(own_store, study, x, score)
    complete = "complete"
    spans = {0: (0.0, 600.0, complete), 1: (0.0, 1800.0, complete), 2: (600.0, 1200.0, complete)}
    work(own_store, study, spans)
    return study


def test_scores_against_compute_follow_the_ends_of_trials(
    own_store: Store, searched: StudyRow
) -> None:
    chart, _ = study_chart(own_store, searched, "compute")
    (panel,) = chart.panels
    assert isinstance(panel, Panel)
    series = by_label(panel)
    # 10, 20 and 50 minutes of all workers together.
    assert panel.x.label == "training time, minutes"
    assert list(series["complete"].x) == pytest.approx([10.0, 20.0, 50.0])
    assert list(series["complete"].y) == [0.5, 0.8, 0.4]
    assert list(series["best so far"].y) == [0.5, 0.8, 0.8]
    assert list(series["baseline"].y) == [0.5, 0.5]


def test_the_best_is_told_as_its_difference_from_the_baseline(
    own_store: Store, searched: StudyRow
) -> None:
    standing = read_standing(own_store, searched)
    assert standing.best is not None
    assert (standing.best.number, standing.gain) == (2, pytest.approx(0.3))
    assert standing.in_words == "0.3000 above the baseline's 0.5000 (trial 0)"
    add_trial(own_store, searched, 0.25, 0.9)  # Not the first trials: the sampler came there.
    assert read_standing(own_store, searched).in_words.startswith("0.4000 above")


def test_a_first_trial_with_other_params_is_no_baseline(own_store: Store) -> None:
    study = create_study(own_store, "toy", toy_spec({"x": ANY_X}, [{"x": 0.25}]))
    add_trial(own_store, study, 0.5, 0.5)
    standing = read_standing(own_store, study)
    assert (standing.baseline, standing.gain, standing.in_words) == (None, None, "")


def test_running_curves_are_drawn_beside_the_best(own_store: Store, searched: StudyRow) -> None:
    lease = leases.open_lease(own_store, searched)
    slots.ensure_slots(own_store, searched, 12)
    for number in range(12):
        slot = trial_writes.begun(own_store, lease)
        if number:
            report = Report(1, 1, True, {"val_accuracy": number / 20})
            record_report(own_store, lease, slot, report)
    chart, _ = study_chart(own_store, searched, "curves")
    (panel,) = chart.panels
    assert isinstance(panel, Panel)
    names = [label for label in by_label(panel) if label != "best epoch"]
    # Of ten lines, two are of finished trials, which have no reports here.
    assert names == [f"trial {number}, running" for number in range(4, 11)]
    assert "not drawn: trial 3 has finished no epoch (running)" in chart.caption
    assert "4 more trials are running" in chart.caption


def test_a_study_without_curves_says_why(own_store: Store) -> None:
    study = create_study(own_store, "toy", toy_spec())
    with pytest.raises(StudyError, match="no trial trains and none has finished; run: tuner opt"):
        study_chart(own_store, study, "curves")


def test_why_attempts_failed(own_store: Store) -> None:
    study = create_study(own_store, "toy", toy_spec())
    lease = leases.open_lease(own_store, study)
    slots.ensure_slots(own_store, study, 5)
    with pytest.raises(StudyError, match="no trial has failed"):
        study_chart(own_store, study, "failures")
    for detail in ("ValueError: small", "ValueError: small", "OSError: gone"):
        trial_writes.fail(own_store, lease, trial_writes.begun(own_store, lease), detail)
    chart, _ = study_chart(own_store, study, "failures")
    (bars,) = chart.panels
    assert isinstance(bars, Bars)
    assert bars.names == ["user error: ValueError: small", "user error: OSError: gone"]
    assert bars.texts() == ["2", "1"]


def test_a_front_is_of_several_objectives_alone(
    own_store: Store, searched: StudyRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StudyError, match="has one objective, and no Pareto front"):
        study_chart(own_store, searched, "front")
    monkeypatch.chdir(tmp_path)
    studies = ObjectiveStudies(tmp_path, own_store)
    file = studies.copy("two_objectives.py")
    several = studies.create(file, "several", direction=["maximize", "minimize"])
    optuna_study = optuna.load_study(study_name="several", storage=own_store.optuna)
    for values in [(0.5, 0.5), (0.9, 0.4), (0.8, 0.1)]:
        optuna_study.add_trial(create_trial(params={}, distributions={}, values=values))
    chart, _ = study_chart(own_store, several, "front")
    (panel,) = chart.panels
    assert isinstance(panel, Panel)
    series = by_label(panel)
    assert (list(series["complete"].x), list(series["complete"].y)) == ([0.5], [0.5])
    assert list(series["no trial is better"].x) == [0.9, 0.8]
    with pytest.raises(StudyError, match=r"There are: front, failures\."):
        study_chart(own_store, several, "history")


def test_of_a_large_study_a_sample_with_its_best_trial(own_store: Store) -> None:
    study = create_study(own_store, "toy", toy_spec())
    for number in range(30):
        add_trial(own_store, study, number / 30, 0.9 if number == 13 else number / 100)
    plotted = PlottedStudy(own_store, study, most=10)
    drawn = [trial.number for trial in plotted.complete]
    assert 13 in drawn
    assert {0, 29} <= {*drawn}
    assert len(drawn) == 10
    assert plotted.count() == "a sample of 10 of 30 completed trials"
    assert len(PlottedStudy(own_store, study).complete) == 30


# Charts as data


def test_thinning_keeps_what_lines_of_steps_show() -> None:
    numbers = [float(number) for number in range(1000)]
    steps = Series("best", numbers, [float(n // 400) for n in numbers], Form.STEPS)
    points = Series("complete", numbers, numbers, Form.POINTS)
    chart = thinned(Chart("c", [Panel(Axis("x"), Axis("y"), [steps, points])]), 50)
    (panel,) = chart.panels
    assert isinstance(panel, Panel)
    kept_steps, kept_points = panel.series
    assert list(kept_steps.x) == [0.0, 400.0, 800.0, 999.0]
    assert (len(kept_points.x), kept_points.x[0], kept_points.x[-1]) == (50, 0.0, 999.0)
    assert chart.caption == ["50 of 1,000 points are drawn"]


LR = Axis("lr", log=True)
NASTY = "<b onclick='x'>&"


def test_plotly_gets_escaped_texts_and_the_frame() -> None:
    y = Axis("score", limits=(0.0, 2.0))
    series = [Series(NASTY, [1e-4, 1.0], [0.0, 2.0]), Series(NASTY, [1e-2], [9.0], Form.DOTS)]
    kinds = Axis("kind", choices=("sgd", NASTY))
    chart = Chart("c", [Panel(LR, y, series), Panel(kinds, y, [Series("a", [1.0], [1.0])])])
    first, second = interactive(chart)["panels"]
    escaped = "&lt;b onclick='x'&gt;&amp;"
    assert [trace["name"] for trace in first["data"]] == [escaped, escaped]
    assert [trace["showlegend"] for trace in first["data"]] == [True, False]
    assert [trace["meta"]["colour"] for trace in first["data"]] == [0, None]
    assert first["layout"]["yaxis"]["range"] == pytest.approx([-0.1, 2.1])
    assert first["layout"]["xaxis"]["type"] == "log"
    assert first["layout"]["xaxis"]["ticktext"] == ["0.0001", "0.001", "0.01", "0.1", "1"]
    assert second["layout"]["xaxis"]["ticktext"] == ["sgd", escaped]


def test_bars_and_parallel_scales_for_plotly() -> None:
    bars = Bars("attempts", [NASTY, "b"], [3.0, 1.0], are_counts=True)
    scales = [Scale("lr", [0.1, None]), Scale("kind", [0.0, 1.0], choices=("sgd", NASTY))]
    chart = Chart("c", [bars, Parallel([7, 3], "score", [0.9, 0.8], scales)])
    drawn, lines = interactive(chart)["panels"]
    assert drawn["data"][0]["text"] == ["3", "1"]
    assert "<b" not in str(drawn)
    best = lines["data"][-1]  # on top of the others
    assert (best["name"], best["meta"]["colour"]) == ("trial 7, score 0.9", 1)
    assert best["y"] == [0.5, 0.0]
    assert lines["data"][0]["y"][0] < 0  # it has no lr
    assert "<b" not in str(lines)


def test_charts_as_tables_have_names_for_choices() -> None:
    kinds = Axis("kind", choices=("sgd", "adam"))
    panel = Panel(kinds, Axis("score"), [Series("complete", [1.0, 0.0], [0.5, 12345.0])])
    scales = [Scale("lr", [0.1, None]), Scale("kind", [0.0, 1.0], choices=("sgd", "adam"))]
    parallel = Parallel([7, 3], "score", [0.9, 0.8], scales)
    first, second = chart_tables(Chart("c", [panel, parallel]))
    assert first.columns == ("series", "kind", "score")
    assert first.rows == [("complete", "adam", "0.5000"), ("complete", "sgd", "12,345")]
    assert second.rows == [("7", "0.9000", "0.1", "sgd"), ("3", "0.8000", "–", "adam")]
    many = Series("complete", [float(n) for n in range(999)], [math.pi] * 999)
    (long,) = chart_tables(Chart("c", [Panel(Axis("x"), Axis("y"), [many])]))
    assert (len(long.rows), long.note) == (200, "200 of 999 points")
