"""Charts of how a study comes along: what its compute has brought, the curves of what trains now,
and why trials failed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuner.errors import StudyError
from tuner.reports.charts import Axis, Bars, Chart, Form, Panel, Series, value_axis
from tuner.reports.standing import read_standing
from tuner.reports.trial_curves import MOST_TRIALS, objective_chart
from tuner.storage.pareto_front import pareto_front
from tuner.storage.trial_outcomes import (
    AttemptWork,
    read_all_values,
    read_failures,
    read_work,
    running_trial_ids,
)
from tuner.storage.trials import TrialRow, read_trials_by_id, trial_curve
from tuner.study.messages import Goal
from tuner.system.names import command, in_command

if TYPE_CHECKING:
    from tuner.reports.plotted_study import PlottedStudy

# Seconds in the units that an axis may have, and from how many of them on it has it.
_UNITS = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}
_FROM_UNITS = 2.0
_MOST_REASONS = 20


def running_bests(goal: Goal, values: Sequence[float]) -> list[float]:
    """The best of the values up to each."""
    best: list[float] = []
    for value in values:
        best.append(value if not best or goal.better(value, best[-1]) else best[-1])
    return best


def out_of_frame(axis: Axis, series: Sequence[Series]) -> list[str]:
    """Sentences on what the frame leaves out."""
    assert axis.limits is not None  # It is the axis of the scores.
    low, high = axis.limits
    counts = {
        each.label: sum(not low <= value <= high for value in each.y)
        for each in series
        if each.form not in (Form.STEPS, Form.DASHES)
    }
    named = [f"{count:,} {label}" for label, count in counts.items() if count]
    return [f"out of the frame: {', '.join(named)}"] if named else []


def compute_chart(plotted: "PlottedStudy") -> Chart:
    """The best score against the time that workers have trained for it, summed over all of them.
    Raises StudyError where no attempt has recorded its time."""
    work = read_work(plotted.store, plotted.study)
    x, y = _scores_by_compute(plotted, work)
    if not x:
        raise StudyError(
            f"study {plotted.study.name!r}: no completed trial was trained by a search here"
        )
    unit, seconds = _unit(x[-1])
    x = [each / seconds for each in x]
    axis = plotted.value_axis()
    goal = plotted.study.spec.goal()
    series = [
        Series("best so far", x, running_bests(goal, y), Form.STEPS, 1),
        Series("complete", x, y, Form.POINTS, 0),
    ]
    caption = ["the time of all workers together"]
    standing = read_standing(plotted.store, plotted.study)
    if (baseline := standing.baseline) is not None and baseline.value is not None:
        ends = [0.0, x[-1]]
        series.append(Series("baseline", ends, [baseline.value] * 2, Form.DASHES, 2))
    title = plotted.title(f"best {plotted.metric} against compute")
    caption += out_of_frame(axis, series)
    return Chart(title, [Panel(Axis(f"training time, {unit}"), axis, series)], caption)


def _scores_by_compute(
    plotted: "PlottedStudy", work: Sequence[AttemptWork]
) -> tuple[list[float], list[float]]:
    """The score of each completed trial, and the seconds trained by all when it ended."""
    values = {outcome.trial_id: outcome.value for outcome in plotted.scored}
    last_of = {each.trial_id: place for place, each in enumerate(work)}
    total, x, y = 0.0, [], []
    for place, each in enumerate(work):
        total += each.seconds
        value = values.get(each.trial_id)
        if value is not None and last_of[each.trial_id] == place:
            x.append(total)
            y.append(value)
    return x, y


def _unit(seconds: float) -> tuple[str, float]:
    """The unit of time in which so many seconds read well, and its seconds."""
    for name, length in _UNITS.items():
        if seconds >= _FROM_UNITS * length:
            return name, length
    return "seconds", 1.0


def curves_of_study(plotted: "PlottedStudy") -> Chart:
    """The objective of the trials that train now, by epoch, beside the best trial's and the
    baseline's. Raises StudyError where none of them has a value to draw."""
    store, study = plotted.store, plotted.study
    running = running_trial_ids(store, study)
    standing = read_standing(store, study)
    roles = {"best": standing.best, "baseline": standing.baseline}
    finished = [trial for trial in roles.values() if trial is not None]
    drawn = running[: MOST_TRIALS - len(finished)]
    trials = _without_doubles([*finished, *read_trials_by_id(store, study, drawn)])
    if not trials:
        raise StudyError(_no_curve(plotted))
    names = {trial.number: "running" for trial in trials if trial.state == "RUNNING"}
    # The best one may be the baseline.
    names |= {trial.number: role for role, trial in reversed(roles.items()) if trial is not None}
    curves = [trial_curve(store, study, trial) for trial in trials]
    chart = objective_chart(study, trials, curves, names)
    missing = len(running) - len(drawn)
    caption = [*chart.caption, f"{missing} more trials are running"] if missing else chart.caption
    return Chart(chart.title, chart.panels, caption)


def _without_doubles(trials: Sequence[TrialRow]) -> list[TrialRow]:
    return list({trial.number: trial for trial in trials}.values())


def _no_curve(plotted: "PlottedStudy") -> str:
    name = plotted.study.name
    return f"study {name!r}: no trial trains and none has finished; run: " + command(
        "optimize", in_command(name), "--trials", 100
    )


def front_chart(plotted: "PlottedStudy") -> Chart:
    """The first two objectives of all completed trials, and the trials that no other one betters
    in both without being worse in one. Raises StudyError where none is completed."""
    goals = plotted.study.spec.goals
    values = read_all_values(plotted.store, plotted.study)
    _ = plotted.scored  # Raises where there is nothing to draw.
    front = {trial.number for trial in pareto_front(plotted.store, plotted.study)}
    kinds = {
        "complete": [its for number, its in values.items() if number not in front],
        "no trial is better": [its for number, its in values.items() if number in front],
    }
    series = [
        Series(label, [its[0] for its in chosen], [its[1] for its in chosen], form, colour)
        for (label, chosen), form, colour in zip(
            kinds.items(), (Form.POINTS, Form.BEST), (0, 1), strict=True
        )
        if chosen
    ]
    x, y = ([its[place] for its in values.values()] for place in (0, 1))
    panel = Panel(value_axis(goals[0].metric, x), value_axis(goals[1].metric, y), series)
    words = ", ".join(f"{goal.metric}: {goal.direction}" for goal in goals)
    caption = [words]
    if len(goals) > 2:
        caption.append("the first two objectives are drawn; the front is of all")
    return Chart(plotted.title(f"Pareto front of {plotted.count_all()}"), [panel], caption)


def failures_chart(plotted: "PlottedStudy") -> Chart:
    """How many attempts failed, were lost or could not work, by reason. Raises StudyError where
    none did."""
    failures = read_failures(plotted.store, plotted.study)
    if not failures:
        raise StudyError(f"study {plotted.study.name!r}: no trial has failed")
    drawn = failures[:_MOST_REASONS]
    names = [failure.in_words for failure in drawn]
    bars = Bars("attempts", names, [float(each.attempts) for each in drawn], are_counts=True)
    left = len(failures) - len(drawn)
    caption = [f"{left} more reasons are not drawn"] if left else []
    return Chart(plotted.title("why attempts failed"), [bars], caption)
