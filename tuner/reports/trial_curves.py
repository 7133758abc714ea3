"""The curves of trials as charts: one trial's metrics, or one metric of several trials."""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from tuner.errors import StudyError
from tuner.reports.charts import Axis, Chart, Form, Panel, Series, value_axis
from tuner.storage import Store
from tuner.storage.attempt_rows import ReportRow, report_of_score
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow, find_trial, trial_curve
from tuner.study.ends import outcome
from tuner.study.metrics import name_of
from tuner.values import format_number

_EPOCH = "epoch"
# More lines cannot be told apart.
MOST_TRIALS = 10

Points = tuple[list[float], list[float]]


def curves_chart(store: Store, study: StudyRow, numbers: Sequence[int]) -> Chart:
    """The chart of one trial's curves, or of the objective of several trials. Raises StudyError
    for unknown trials, for too many, and if none of them has a value to draw."""
    numbers = list(dict.fromkeys(numbers))
    if len(numbers) > MOST_TRIALS:
        raise StudyError(
            f"at most {MOST_TRIALS} trials can be told apart in one chart, got {len(numbers)}"
        )
    trials = [find_trial(store, study, number) for number in numbers]
    reports = [trial_curve(store, study, trial) for trial in trials]
    if len(trials) == 1:
        return one_trial_chart(study, trials[0], reports[0])
    return objective_chart(study, trials, reports)


def one_trial_chart(study: StudyRow, trial: TrialRow, reports: Sequence[ReportRow]) -> Chart:
    """A panel for each metric that the trial reported, on the training and the validation split.
    Raises StudyError if it has reported none."""
    objective = study.spec.metric
    panels = []
    best_epoch = _best_epoch(study, trial, reports)
    for metric in _metrics(reports, objective):
        series = list(_metric_series(metric, reports, best_epoch))
        values = [value for each in series for value in each.y]
        if values:
            panels.append(Panel(Axis(_EPOCH), value_axis(metric, values), series))
    if not panels:
        raise StudyError(f"study {study.name!r}: {_without_curve(trial)}")
    words = [f"study {study.name}, trial {trial.number}: {_state(trial)}"]
    if trial.value is not None:
        words.append(f"{objective} {format_number(trial.value)}")
    caption = _unfinite(reports)
    if best_epoch is not None:
        caption.insert(0, f"best epoch: {best_epoch}, by {objective}")
    return Chart(", ".join(words), panels, caption)


def objective_chart(
    study: StudyRow,
    trials: Sequence[TrialRow],
    reports: Sequence[Sequence[ReportRow]],
    roles: Mapping[int, str] = MappingProxyType({}),
) -> Chart:
    """The objective of several trials in one panel. `roles`: what else is said of a trial, by its
    number. Raises StudyError if none has reported it."""
    objective = study.spec.metric
    lines, marks, left_out = [], [], []
    for colour, (trial, curve) in enumerate(zip(trials, reports, strict=True)):
        x, y = _points(curve, objective)
        if not x:
            left_out.append(f"not drawn: {_without_curve(trial)}")
            continue
        role = roles.get(trial.number)
        name = f"trial {trial.number}, {role}" if role else f"trial {trial.number}"
        lines.append(Series(name, x, y, Form.LINE, colour, tag=str(trial.number)))
        values = dict(zip(x, y, strict=True))
        if (best := _best_epoch(study, trial, curve)) in values:
            marks.append(Series("best epoch", [best], [values[best]], Form.BEST, colour))
    if not lines:
        raise StudyError(f"study {study.name!r}: none of these trials has finished an epoch")
    axis = value_axis(objective, [value for line in lines for value in line.y])
    title = f"study {study.name}: {objective} of {len(lines)} trial{'s' * (len(lines) != 1)}"
    return Chart(title, [Panel(Axis(_EPOCH), axis, [*lines, *marks])], left_out)


def _without_curve(trial: TrialRow) -> str:
    return f"trial {trial.number} has finished no epoch ({_state(trial)})"


def _state(trial: TrialRow) -> str:
    return outcome(trial.state.lower(), trial.end).replace("_", " ")


def _metrics(reports: Sequence[ReportRow], objective: str) -> list[str]:
    """The metrics without their split: the loss, the objective, then the others."""
    names = [name for report in reports for name in report.metrics]
    return list(dict.fromkeys(map(name_of, ["loss", objective, *names])))


def _metric_series(
    metric: str, reports: Sequence[ReportRow], best_epoch: int | None
) -> Iterator[Series]:
    names = {metric: "training", f"val_{metric}": "validation", f"test_{metric}": "test"}
    for colour, (name, label) in enumerate(names.items()):
        x, y = _points(reports, name)
        if not x:
            continue
        form = Form.DASHES if label == "training" else Form.LINE
        yield Series(label, x, y, Form.POINTS if len(x) == 1 else form, colour)
        if label != "training" and best_epoch in x:
            best = [y[x.index(best_epoch)]]
            yield Series("best epoch", [float(best_epoch)], best, Form.BEST, colour)


def _points(reports: Sequence[ReportRow], name: str) -> Points:
    """The metric's raw values by epoch. The first epoch's reports divide it evenly."""
    first = [report for report in reports if report.epoch == 1]
    parts = len(first) + (not any(report.whole for report in first))
    x, y = [], []
    for place, report in enumerate(reports, start=1):
        value = report.metrics.get(name)
        if value is not None and math.isfinite(value):
            x.append(place / parts if report.epoch == 1 else float(report.epoch))
            y.append(value)
    return x, y


def _best_epoch(study: StudyRow, trial: TrialRow, reports: Sequence[ReportRow]) -> int | None:
    """The epoch that the score is of; of a trial without a score, the best one so far."""
    if trial.last is None:
        return None
    report = report_of_score(reports, trial.last, study.spec.goal())
    return report.epoch if report is not None and report.whole else None


def _unfinite(reports: Sequence[ReportRow]) -> list[str]:
    """A sentence for each metric with values that cannot be drawn."""
    epochs: dict[str, int] = {}
    for report in reports:
        for name, value in report.metrics.items():
            if not math.isfinite(value):
                epochs.setdefault(name, report.epoch)
    return [f"{name} is no finite number from epoch {epoch}" for name, epoch in epochs.items()]
