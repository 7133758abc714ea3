"""What a search prints when it is over."""

from typing import TYPE_CHECKING, Any

import typer

from tuner.cli.output import complain, print_json, say, short, show_facts, show_rows
from tuner.names import in_command
from tuner.storage import Store
from tuner.storage.places import LOSSES
from tuner.storage.records import IntervalRow
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow, best_trial, ends, list_trials, table_row

if TYPE_CHECKING:
    from tuner.optimize import Delivered, Outcome, Repaired
    from tuner.tracking.sync import Checked, Synced

EXITS = {"interrupted": 130, "errors": 1}
REASONS = {
    "timeout": "the time is up",
    "target": "the target is reached",
    "patience": "the last trials brought nothing better",
    "interrupted": "interrupted",
    "errors": "three trials in a row failed",
}


def print_outcome(
    store: Store,
    study: StudyRow,
    outcome: "Outcome",
    delivered: "Delivered | None",
    as_json: bool,
) -> int:
    """Print how a search ended, its best trial and what to do next. The exit code."""
    trials = list_trials(store, study)
    best = best_trial(study, trials)
    if as_json:
        facts = {"study": study.name, "stopped": outcome.reason, "ends": ends(trials)}
        print_json(facts | {"best": table_row(best) if best else None})
    else:
        _say_ends(study, trials, outcome)
        if best is not None:
            print_best(study, best)
        _next_steps(study, outcome, best is not None)
    complain_of_delivery(delivered)
    if outcome.reason == "errors":
        complain(
            f"{outcome.failure}; the traceback: tuner trial show N --study {in_command(study.name)}"
        )
    return EXITS.get(outcome.reason or "", 0)


def _say_ends(study: StudyRow, trials: list[TrialRow], outcome: "Outcome") -> None:
    counts = ", ".join(f"{count} {end.replace('_', ' ')}" for end, count in ends(trials).items())
    say(f"\nstudy {study.name}: {counts or 'no trial yet'}")
    if outcome.reason:
        back = f"; {outcome.put_back} running put back" if outcome.put_back else ""
        say(f"stopped: {REASONS[outcome.reason]}{back}")


def print_best(study: StudyRow, best: TrialRow) -> None:
    """The best trial as a small table."""
    spec = study.spec
    say(f"\nbest: trial {best.number}, {spec.metric} {best.value:.4f} on the validation split")
    # The file's own parameters: with all defaults beside them nobody would find these.
    named = {name: value for name, value in best.params.items() if name in spec.space.parameters}
    width = max((len(name) for name in named), default=0)
    for name, value in named.items():
        say(f"  {name:<{width}}  {_param(value)}")
    last = best.last
    if last is not None and last.parameter_count:
        epochs = f"best epoch {last.best_epoch} of {last.epochs}"
        say(f"  ({last.parameter_count:,} parameters, {epochs})")


def _param(value: Any) -> str:
    return " ".join(short(v) for v in value) if isinstance(value, list) else short(value)


def _next_steps(study: StudyRow, outcome: "Outcome", has_best: bool) -> None:
    name = in_command(study.name)
    say("\nnext:")
    if outcome.board.done < outcome.board.total:
        say(f"  tuner optimize {name} --trials {outcome.board.total}   goes on from here")
    else:
        say(f"  tuner optimize {name} --more 50   searches on")
    if has_best:
        say(f"  tuner study best {name} --save best.keras   writes the network")
    say("  tuner ui   opens MLflow and the Optuna dashboard")


def complain_of_delivery(delivered: "Delivered | None") -> None:
    if delivered is not None and (delivered.owed or delivered.problem):
        why = f" ({delivered.problem})" if delivered.problem else ""
        complain(
            f"MLflow still lacks {delivered.owed} trials{why}; SQL has them all: "
            "tuner sync sends them when MLflow is back"
        )


def study_facts(study: StudyRow, trials: list[TrialRow]) -> dict[str, Any]:
    """What `study show` prints."""
    spec = study.spec
    best = best_trial(study, trials)
    return {
        "study": study.name,
        "created": study.created_at,
        "data": spec.data.source,
        "task": spec.task,
        "train_rows": spec.train_rows,
        "fingerprint": spec.fingerprint[:16],
        "network": spec.space.network,
        "varies": spec.space.varying(),
        "epochs": spec.epochs,
        "metric": f"{spec.metric}, {spec.direction}",
        "scored_on": _scored_on(study),
        "sampler": f"{spec.sampler.name} {_options(spec.sampler.options)}".strip(),
        "pruner": f"{spec.pruner.name} {_options(spec.pruner.options)}".strip(),
        "seed": spec.seed,
        "mlflow_experiment": study.experiment,
        "trials": len(trials),
        "ends": ends(trials),
        "attempts_lost": sum(a.end in LOSSES for trial in trials for a in trial.attempts) or None,
        "best_trial": best.number if best else None,
        "best_score": best.value if best else None,
        "best_params": best.params if best else None,
    }


def _scored_on(study: StudyRow) -> str | None:
    return "test split, after the last epoch" if study.spec.held_out == "test" else None


def _options(options: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in options.items())


def print_trial(study: StudyRow, trial: TrialRow, curve: list[IntervalRow], as_json: bool) -> None:
    """One trial whole: facts, attempts, and a row a report interval."""
    facts: dict[str, Any] = {"study": study.name, "queued": trial.state == "WAITING"}
    facts |= table_row(trial) | {"retry_of": trial.retry_of}
    last = trial.last
    if last is not None:
        facts |= {
            "best_epoch": last.best_epoch,
            "parameter_count": last.parameter_count,
            "engine": last.engine,
            "model": last.model_path,
            "detail": last.detail,
        }
    attempts = [
        {
            "attempt": a.attempt,
            "worker": a.worker,
            "from_epoch": (a.resumed_epoch or 0) + 1,
            "end": a.end,
            "score": a.score,
        }
        for a in trial.attempts
    ]
    names = dict.fromkeys(name for i in curve for name in i.metrics)
    rows = [
        {"epoch": i.epoch, "step": i.step} | {name: i.metrics.get(name) for name in names}
        for i in curve
    ]
    if as_json:
        print_json(facts | {"attempts": attempts, "intervals": rows})
        return
    show_facts({name: value for name, value in facts.items() if name != "queued"}, False)
    if len(attempts) > 1:
        show_rows(attempts, False)
    show_rows(rows, False)


def queued(study: str, number: int, waiting: int) -> str:
    """What to know of a trial that was queued."""
    return (
        f"study {study}: trial {number} is queued ({waiting} waiting)\n"
        "it takes one of the study's places, before anything the sampler proposes: "
        "tuner optimize --more 1"
    )


def repaired(study: str, done: "Repaired") -> str:
    """What `study repair` did."""
    parts = {
        "places of dead loops settled": done.settled,
        "running trials without a place failed": done.failed,
        "attempts without an end closed": done.closed,
    }
    told = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
    return f"study {study}: {told or 'nothing to repair'}"


def print_synced(done: list["Synced"], as_json: bool) -> int:
    """What `sync` sent. The exit code."""
    if as_json:
        print_json([vars(one) for one in done])
    for one in done:
        if not as_json:
            say(f"study {one.study}: {one.sent} trials sent, {one.owed} owed")
        if one.problem:
            complain(f"study {one.study}: {one.problem}")
    return 1 if any(one.owed or one.problem for one in done) else 0


def print_checked(found: list["Checked"], as_json: bool) -> int:
    """Where MLflow differs. The exit code."""
    rows = [
        {"study": one.study, "trial": difference.trial, "difference": difference.what}
        for one in found
        for difference in one.differences
    ]
    if as_json:
        print_json(rows)
    else:
        show_rows(rows, False)
        for one in found:
            if not one.differences:
                say(f"study {one.study}: MLflow shows all {one.trials} trials as SQL has them")
        if rows:
            say("tuner sync puts this right")
    return 1 if rows else 0


def confirm_deletion(store: Store, study: StudyRow, yes: bool) -> None:
    """Ask, unless told not to. Raises typer.Abort when the answer is no."""
    if not yes:
        count = len(list_trials(store, study))
        typer.confirm(
            f"delete study {study.name} with its {count} trials, saved networks and MLflow runs?",
            abort=True,
        )
