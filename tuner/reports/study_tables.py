"""What commands show of studies and trials, as names and values: no printing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.algorithms.expected_gain import ExpectedGain
from tuner.reports.lineages import TrialLineage
from tuner.storage.attempt_rows import AttemptRow, ReportRow
from tuner.storage.studies import StudyRow, StudySummary
from tuner.storage.trials import TABLE_COLUMNS, Summary, TrialRow, param_column, table_row
from tuner.study.ends import outcome
from tuner.study.spec import StudySpec
from tuner.training.program_key import engine_reason
from tuner.values import clipped, word

Facts = dict[str, Any]

_DAMAGE_CHARACTERS = 120
_DAMAGES_NAMED = 3


def study_list_rows(studies: Sequence[StudySummary]) -> list[Facts]:
    """A row for each study, complete. Of a damaged study: its name and the damage."""
    return [_study_list_row(study, damage_column=True) for study in studies]


def short_study_list_rows(studies: Sequence[StudySummary]) -> list[Facts]:
    """The same in fewer columns, for 80 characters: only the day of creation, and no column that
    is 0 or empty in all rows."""
    rows = [_study_list_row(study, damage_column=False) for study in studies]
    often_empty = ("total", "running", "failed", "state", "priority")
    empty = [name for name in often_empty if not any(row[name] for row in rows)]
    for row, study in zip(rows, studies, strict=True):
        row["created"] = study.created_at and study.created_at.astimezone().date()
    return [{name: row[name] for name in row if name not in empty} for row in rows]


def _study_list_row(study: StudySummary, damage_column: bool) -> Facts:
    row = {
        "study": study.name,
        "data": study.data,
        "network": study.space,
        "finished": study.finished,
        "total": study.total,
        "running": study.states.get("RUNNING", 0),
        "failed": study.states.get("FAIL", 0),
        "best": study.best,
        "metric": study.metric,
        "created": study.created_at,
        "state": study.state.value or None,
        "priority": study.priority,
    }
    if study.damage is None:
        return row
    unknown = ("network", "finished", "total", "running", "failed", "metric", "priority")
    row |= dict.fromkeys(unknown)
    if damage_column:
        return row | {"data": None, "damage": study.damage}
    return row | {"data": f"damaged: {clipped(study.damage, _DAMAGE_CHARACTERS)}"}


def study_facts(
    study: StudyRow,
    summary: Summary,
    experiment: str | None,
    expected: ExpectedGain | None = None,
    population: Facts | None = None,
) -> Facts:
    """What `study show` prints. `experiment`: the name of the study's MLflow experiment.
    `expected`: of further trials. `population`: what lineages.population_facts says."""
    spec = study.spec
    data = spec.data
    best = summary.best.trial
    return {
        "study": study.name,
        "damaged": study.damage,
        "created": study.created_at,
        "made_by": f"tuner {study.version}" if study.version else None,
        "data": spec.data_source or None,
        "columns": {} if data is None else data.columns,
        "weights": None if data is None else data.weights,
        "task": spec.task,
        "train_rows": spec.train_rows or None,
        "fingerprint": spec.fingerprint[:16] or None,
        "network": spec.space.network,
        "function": spec.function_kind.form if spec.network_path else None,
        "varies": list(summary.varying),
        "epochs": spec.epochs,
        "metric": spec.objectives_in_words,
        "recorded": list(spec.record),
        "own_metrics": [str(own) for own in spec.own_metrics.values()],
        "scored_on": "test split, after the last epoch" if spec.is_comparison else None,
        "sampler": _with_options(spec.sampler.name, spec.sampler.options),
        "pruner": _with_options(spec.pruner.name, spec.pruner.options),
        "prior": spec.prior.in_words if spec.prior.centres else None,
        "tried_first": spec.prior.tried_first_in_words or None,
        "seed": spec.seed,
        "mlflow_experiment": experiment,
        "state": study.state.value or None,
        "priority": study.priority or None,
        "daemons_stop_at": dict(study.limits),
        "total": summary.total or None,
        "trials": summary.trials,
        "ends": summary.ends,
        "drawn_again": summary.drawn_again or None,
        "attempts_lost": summary.lost or None,
        "best_trial": best.number if best else None,
        "best_score": best.value if best else None,
        "expected_gain": None if expected is None else expected.in_words,
        "best_metrics": dict(best.metrics) if best else None,
        "best_params": best.params if best else None,
        **(population or {}),
    }


def best_facts(study: StudyRow, best: TrialRow) -> Facts:
    """The best trial's row, with its study and metric."""
    return {"study": study.name, "metric": study.spec.metric} | table_row(best)


def front_facts(study: StudyRow, front: Sequence[TrialRow]) -> Facts:
    """The trials of a Pareto front, with their study and its objectives."""
    names = [goal.metric for goal in study.spec.goals]
    return {"study": study.name, "objectives": names, "trials": [table_row(t) for t in front]}


def front_rows(study: StudyRow, front: Sequence[TrialRow]) -> list[Facts]:
    """The same for people: a row for each trial, with its values and params."""
    names = [goal.metric for goal in study.spec.goals]
    params = list(dict.fromkeys(name for trial in front for name in trial.params))
    return [
        {"trial": trial.number, study.spec.metric: trial.value}
        | dict(trial.metrics)
        | {param_column(name, names): trial.params.get(name) for name in params}
        for trial in front
    ]


def _with_options(name: str, options: Mapping[str, Any]) -> str:
    return " ".join([name, *(f"{option}={word(value)}" for option, value in options.items())])


@dataclass(frozen=True)
class TrialReport:
    """One trial: its facts, a row for each attempt, and a row for each report. `engine_reason`: why
    no faster engine can train it, worded to follow "because"; None if the engine is the fastest,
    or was asked for. `schedule`: a row for each generation of its lineage; none where it goes on
    from no other trial."""

    facts: Facts
    attempts: list[Facts]
    reports: list[Facts]
    engine_reason: str | None = None
    schedule: list[Facts] = field(default_factory=list)


def report_trial(
    study: StudyRow,
    trial: TrialRow,
    curve: Sequence[ReportRow],
    notes: Mapping[str, Any] | None = None,
    lineage: TrialLineage | None = None,
) -> TrialReport:
    """What `trial show` prints. `curve`: the trial's reports. `notes`: what its own code has
    noted. `lineage`: of a trial of a population."""
    facts: Facts = {"study": study.name, "queued": trial.state == "WAITING"}
    facts |= table_row(trial) | {"retry_of": trial.retry_of}
    if damages := list(dict.fromkeys(damage for report in curve for damage in report.damage)):
        named = "; ".join(damages[:_DAMAGES_NAMED])
        facts |= {"state": "damaged", "damage": "; ".join(filter(None, [trial.damage, named]))}
    if trial.last is not None:
        facts |= _last_attempt_facts(trial.last)
    if lineage is not None:
        facts |= lineage.facts()
    if notes:
        facts["logged"] = dict(notes)
    # A wide table is cut: what the study is about comes first.
    beside = study.spec.beside_score
    first = (study.spec.metric, *beside) if beside else ()
    reported = dict.fromkeys(name for report in curve for name in report.metrics)
    metrics = dict.fromkeys([*(name for name in first if name in reported), *reported])
    reports: list[Facts] = [
        {"epoch": report.epoch, "step": report.step}
        | {name: report.metrics.get(name) for name in metrics}
        for report in curve
    ]
    return TrialReport(
        facts=facts,
        attempts=[_attempt_row(attempt) for attempt in trial.attempts],
        reports=reports,
        engine_reason=_engine_reason(study.spec, trial),
        schedule=lineage.rows() if lineage is not None and len(lineage.stages) > 1 else [],
    )


def _engine_reason(spec: StudySpec, trial: TrialRow) -> str | None:
    if spec.function_kind.trains:
        return f"{spec.space.network} trains by itself"
    engine = trial.last.engine if trial.last else None
    return engine_reason(engine, spec.space.network, trial.params)


def _last_attempt_facts(attempt: AttemptRow) -> Facts:
    return {
        "best_epoch": attempt.best_epoch,
        "parameter_count": attempt.parameter_count,
        "engine": attempt.engine,
        "trained_on": attempt.place_text,
        "model": attempt.model_path,
        "detail": attempt.detail,
    }


def _attempt_row(attempt: AttemptRow) -> Facts:
    return {
        "attempt": attempt.attempt,
        "worker": attempt.worker,
        "host": attempt.host,
        "node": attempt.node,
        "from_epoch": (attempt.resumed_epoch or 0) + 1,
        "end": attempt.end,
        "score": attempt.score,
    }


def trial_cells(row: Mapping[str, Any], varying: Sequence[str]) -> Facts:
    """A trial's row for people: one column for state and end, one for each recorded metric and each
    varying parameter."""
    metrics = row.get("metrics", {})
    cells = with_metrics(row, TABLE_COLUMNS)
    del cells["end"]
    cells["state"] = trial_state(row)
    return cells | {param_column(name, metrics): row["params"].get(name) for name in varying}


def with_metrics(row: Mapping[str, Any], names: Iterable[str]) -> Facts:
    """The values of these names in a trial's row, its recorded metrics behind the score."""
    facts: Facts = {}
    for name in names:
        if name != "metrics":
            facts[name] = row[name]
        if name == "score":
            facts |= row.get("metrics", {})
    return facts


def trial_columns(record: Iterable[str]) -> list[str]:
    """The columns of an exported trial before its params; `record`: the study's."""
    score = TABLE_COLUMNS.index("score") + 1
    return [*TABLE_COLUMNS[:score], *record, *TABLE_COLUMNS[score:]]


def trial_state(row: Mapping[str, Any]) -> str:
    """What is wrong with a damaged trial; of others the `outcome`."""
    if row.get("damage"):
        return f"damaged: {clipped(row['damage'], _DAMAGE_CHARACTERS)}"
    return outcome(row["state"], row["end"])
