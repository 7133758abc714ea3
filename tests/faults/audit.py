"""What must hold of a study after any fault."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from toy_study import Bench

from tuner.storage.schema import attempts, reports, slot_rows
from tuner.storage.studies import load_study
from tuner.storage.trials import TrialRow
from tuner.tracking.client import open_client
from tuner.tracking.content import TRIAL_TAG
from tuner.tracking.experiments import all_experiments, find_runs

FINISHED = ("COMPLETE", "PRUNED")


@dataclass
class Audit:
    """Lines about what was lost, done twice, or left behind as if it ran."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    zombies: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.zombies)


def audit(bench: Bench, asked: int) -> Audit:
    """Look at a study that has been run to its end, and at MLflow if the bench has one."""
    found, trials = Audit(), bench.trials
    found.lost += _missing(trials, asked)
    found.lost += [line for trial in trials for line in _incomplete(bench, trial)]
    found.duplicated += _twice(trials, asked)
    found.zombies += [
        f"trial {t.number} is {t.state}" for t in trials if t.state in ("RUNNING", "WAITING")
    ]
    found.zombies += _left_behind(bench)
    found.lost += _broken(bench)
    if bench.tracking_uri:
        _look_at_mlflow(bench, bench.tracking_uri, trials, found)
    return found


def _missing(trials: list[TrialRow], asked: int) -> Iterator[str]:
    done = sum(trial.state in FINISHED for trial in trials)
    if done < asked:
        yield f"{asked} trials were asked for, {done} are finished"
    if [trial.number for trial in trials] != list(range(len(trials))):
        yield f"numbers are missing: {[trial.number for trial in trials]}"


def _twice(trials: list[TrialRow], asked: int) -> Iterator[str]:
    done = sum(trial.state in FINISHED for trial in trials)
    if done > asked:
        yield f"{asked} trials were asked for, {done} are finished"
    for trial in trials:
        whole = [a.attempt for a in trial.attempts if a.score is not None and a.end != "pruned"]
        if len(whole) > 1:
            yield f"trial {trial.number} was trained to its end in attempts {whole}"
        numbers = [a.attempt for a in trial.attempts]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"trial {trial.number} has the attempts {numbers}"


def _incomplete(bench: Bench, trial: TrialRow) -> Iterator[str]:
    if trial.state not in FINISHED or trial.last is None:
        return
    rows = bench.curve(trial)
    steps = [row.step for row in rows]
    if trial.end in ("complete", "early_stopped", "pruned") and (
        steps != list(range(1, len(steps) + 1)) or len(steps) != trial.last.epochs
    ):
        yield f"trial {trial.number} has {trial.last.epochs} epochs, and the intervals {steps}"
    if trial.state == "COMPLETE":
        best = max((row.metrics["val_accuracy"] for row in rows), default=None)
        if not trial.value == trial.last.score == best:
            yield f"trial {trial.number}: told {trial.value}, {trial.last.score} kept, best {best}"


def repeated(bench: Bench) -> list[str]:
    """Lines about attempts that trained again more than the epoch that was running when the one
    before them ended, of trials that keep a checkpoint of each epoch."""
    query = (
        sa.select(reports.c.trial_id, reports.c.attempt, sa.func.max(reports.c.epoch))
        .where(reports.c.study_uuid == load_study(bench.store).uuid, reports.c.whole)
        .group_by(reports.c.trial_id, reports.c.attempt)
    )
    with bench.store.reading() as connection:
        reached = {(row[0], row[1]): row[2] for row in connection.execute(query)}
    lines = []
    for trial in bench.trials:
        known = 0
        for attempt in trial.attempts:
            now_known = reached.get((trial.trial_id, attempt.attempt), 0)
            # A checkpoint is written while the epoch after it begins.
            if now_known and (resumed := attempt.resumed_epoch or 0) < known - 1:
                which = f"trial {trial.number}, attempt {attempt.attempt}"
                lines.append(f"{which} went on after {resumed} of {known} epochs")
            known = max(known, now_known)
    return lines


def _left_behind(bench: Bench) -> Iterator[str]:
    study = load_study(bench.store)
    claimed = sa.select(slot_rows.c.number).where(
        slot_rows.c.study_id == study.study_id, slot_rows.c.state == "claimed"
    )
    open_ends = sa.select(attempts.c.trial_id, attempts.c.attempt).where(
        attempts.c.study_uuid == study.uuid, attempts.c.ended_at.is_(None)
    )
    with bench.store.reading() as connection:
        for row in connection.execute(claimed):
            yield f"place {row.number} is claimed"
        for row in connection.execute(open_ends):
            yield f"attempt {row.attempt} of the trial with id {row.trial_id} has no end"


def _broken(bench: Bench) -> Iterator[str]:
    if bench.store.url.get_backend_name() == "sqlite":
        with bench.store.reading() as connection:
            said = connection.execute(sa.text("PRAGMA integrity_check")).scalars().all()
        if said != ["ok"]:
            yield f"integrity_check: {said}"


def _look_at_mlflow(bench: Bench, uri: str, trials: list[TrialRow], found: Audit) -> None:
    runs = _runs(bench, uri)
    for trial in trials:
        mine = runs.get(str(trial.number), [])
        if not mine:
            found.lost.append(f"trial {trial.number} has no run")
        if len(mine) > 1:
            found.duplicated.append(f"trial {trial.number} has {len(mine)} runs")
        for run in mine:
            wanted = "FAILED" if trial.state == "FAIL" else "FINISHED"
            if run.info.status != wanted:
                found.zombies.append(f"the run of trial {trial.number} is {run.info.status}")
            if trial.state == "COMPLETE" and run.data.metrics.get("score") != trial.value:
                found.lost.append(f"the run of trial {trial.number} has another score")


def _runs(bench: Bench, uri: str) -> dict[str, list[Any]]:
    study, client = load_study(bench.store), open_client(uri)
    experiment_ids = [experiment.experiment_id for experiment in all_experiments(client)]
    by_number: dict[str, list[Any]] = {}
    for page in find_runs(client, experiment_ids, f"tags.study = '{study.name}'"):
        for run in page:
            if TRIAL_TAG in run.data.tags:
                by_number.setdefault(run.data.tags["trial"], []).append(run)
    return by_number


def ends(bench: Bench) -> Counter[str | None]:
    """How all attempts of the study ended."""
    return Counter(attempt.end for trial in bench.trials for attempt in trial.attempts)
