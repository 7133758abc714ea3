"""What commands print of studies, trials, searches and MLflow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tuner.cli.output import (
    complain,
    one_line,
    print_json,
    print_json_rows,
    say,
    say_fact,
    short,
    show_facts,
    show_rows,
    shown,
    stream_rows,
)
from tuner.settings import Settings
from tuner.storage import Store
from tuner.storage.attempt_rows import ReportRow
from tuner.storage.corrections import has_finished
from tuner.storage.studies import StudyRow, StudySummary
from tuner.storage.trials import (
    TABLE_COLUMNS,
    Best,
    Summary,
    TrialRow,
    count_trials,
    stream_trials,
    summarize,
    table_row,
)
from tuner.study.ends import StopReason
from tuner.system.names import command, in_command, printable
from tuner.values import clipped, word

if TYPE_CHECKING:
    from tuner.runner import Delivered, Outcome, Repaired
    from tuner.tracking.sync import Checked, Synced

_DAMAGE_CHARACTERS = 120
# Of a table of reports; those of one that nobody has spoiled have half as many.
_MOST_COLUMNS = 14
EXITS: dict[str | None, int] = {StopReason.INTERRUPTED: 130, StopReason.ERRORS: 1}
REASONS = {
    StopReason.TIMEOUT: "the time is up",
    StopReason.TARGET: "the target is reached",
    StopReason.PATIENCE: "the last trials brought nothing better",
    StopReason.INTERRUPTED: "interrupted",
    StopReason.ERRORS: "three trials in a row failed",
}


def print_outcome(
    store: Store,
    study: StudyRow,
    outcome: "Outcome",
    delivered: "Delivered | None",
    as_json: bool,
) -> int:
    """Print how a search ended, its best trial and what to do next. The exit code."""
    summary = summarize(store, study)
    best = summary.best.trial
    if as_json:
        facts = {"study": study.name, "stopped": outcome.reason, "ends": summary.ends}
        print_json(facts | {"best": table_row(best) if best else None})
    else:
        _say_ends(study, summary, outcome)
        if best is not None:
            print_best(study, best)
        _next_steps(study, outcome, best is not None)
    complain_of_damage(summary.best)
    complain_of_delivery(study, delivered)
    if outcome.reason is StopReason.ERRORS:
        complain(failure_told(study, outcome))
        if study.spec.code:
            complain(_how_to_correct(study, has_finished(store, study)))
    return EXITS.get(outcome.reason, 0)


def failure_told(study: StudyRow, outcome: "Outcome") -> str:
    """The last error of trials that failed, and where its traceback is."""
    show = command("trial", "show", outcome.failed_trial, "--study", in_command(study.name))
    return f"{outcome.failure}; the traceback: {show}"


def _how_to_correct(study: StudyRow, has_finished: bool) -> str:
    """How to go on where trials have failed and the study runs the user's own code."""
    files = ", ".join(printable(path) for path in study.spec.code)
    if has_finished:
        return (
            f"trials have finished with the study's {files} as kept: corrected files need a new "
            "study, created under another name"
        )
    return (
        f"if the mistake is in {files}: correct it, create the study again with the same options, "
        "which takes the corrected files as no trial has finished, and then: "
        + command("optimize", in_command(study.name))
    )


def _say_ends(study: StudyRow, summary: Summary, outcome: "Outcome") -> None:
    counts = ", ".join(f"{count} {end.replace('_', ' ')}" for end, count in summary.ends.items())
    say(f"\nstudy {study.name}: {counts or 'no trial yet'}")
    if outcome.reason:
        back = f"; {outcome.put_back} running put back" if outcome.put_back else ""
        say(f"stopped: {REASONS[outcome.reason]}{back}")


def print_best(study: StudyRow, best: TrialRow) -> None:
    """The best trial as a small table."""
    spec = study.spec
    say(f"\nbest: trial {best.number}, {spec.metric} {shown(best.value)} on the validation split")
    # The file's own parameters: with all defaults beside them nobody would find these.
    named = {name: value for name, value in best.params.items() if name in spec.space.parameters}
    width = max((len(name) for name in named), default=0)
    for name, value in named.items():
        say_fact(f"  {name:<{width}}  ", one_line(_param(value)))
    last = best.last
    if last is not None and last.parameter_count:
        epochs = f"best epoch {last.best_epoch} of {last.epochs}"
        say(f"  ({last.parameter_count:,} parameters, {epochs})")


def show_best(
    settings: Settings,
    store: Store,
    study: StudyRow,
    best: TrialRow,
    save: Path | None,
    as_json: bool,
    data: str | None = None,
    hashes: Sequence[str] = (),
) -> None:
    """What `study best` prints. `save`: the file to write the network to. Should the trial have to
    be trained again: `data`, where the data lie now; `hashes`, of code that is trusted."""
    if not as_json:
        say(f"study {study.name}")
        print_best(study, best)
    network = None
    if save is not None:
        from tuner.cli.consent import confirming
        from tuner.models import save_network

        network = confirming(
            lambda: save_network(settings, store, study, best, save, data), settings, study, hashes
        )
        for remark in network.remarks:
            complain(remark)
    if as_json:
        facts = {"study": study.name, "metric": study.spec.metric} | table_row(best)
        written = {"path": str(save), "source": str(network.source)} if network else None
        print_json(facts | ({"network": written} if written else {}))
    elif network is not None:
        say(f"\nwrote {save} ({network.source})")


def _param(value: Any) -> str:
    return " ".join(short(v) for v in value) if isinstance(value, list) else short(value)


def _next_steps(study: StudyRow, outcome: "Outcome", has_best: bool) -> None:
    name = in_command(study.name)
    say("\nnext:")
    if outcome.status.done < outcome.status.total:
        again = command("optimize", name, "--trials", outcome.status.total)
        say(f"  {again}   goes on from here")
    else:
        say(f"  {command('optimize', name, '--more', 50)}   searches on")
    if has_best:
        say(f"  {command('study', 'best', name, '--save', 'best.keras')}   writes the network")
    say(f"  {command('ui')}   opens MLflow and the Optuna dashboard")


def complain_of_damage(best: Best) -> None:
    """Of trials that would be the best if their rows could be read."""
    if best.damaged:
        first, others = best.damaged[0], len(best.damaged) - 1
        more = f", and {others:,} more" if others else ""
        complain(
            f"trial {first.number}, whose score is better, is damaged ({first.damage}){more}: "
            f"left out"
        )


def complain_of_delivery(study: StudyRow, delivered: "Delivered | None") -> None:
    if delivered is None:
        return
    sync = command("sync", in_command(study.name))
    if delivered.problem and not delivered.missing:
        complain(f"MLflow differs from SQL ({delivered.problem}); to put this right: {sync}")
    elif delivered.missing:
        why = f" ({delivered.problem})" if delivered.problem else ""
        complain(
            f"MLflow still lacks {delivered.missing} trials{why}; SQL has them all; "
            f"when MLflow is back: {sync}"
        )


def study_rows(studies: list[StudySummary], as_json: bool) -> list[dict[str, Any]]:
    """The lines of `study list`. In a table, which must fit 80 columns, without what no study has
    and with the day alone."""
    rows = [_study_row(study, as_json) for study in studies]
    if as_json:
        return rows
    empty = [name for name in ("running", "failed") if not any(row[name] for row in rows)]
    for row, study in zip(rows, studies, strict=True):
        row["created"] = study.created_at and study.created_at.astimezone().date()
    return [{name: row[name] for name in row if name not in empty} for row in rows]


def _study_row(study: StudySummary, as_json: bool) -> dict[str, Any]:
    """Of a damaged study only its name and what is wrong."""
    row = {
        "study": study.name,
        "data": study.data,
        "network": study.space,
        "finished": study.finished,
        "running": study.states.get("RUNNING", 0),
        "failed": study.states.get("FAIL", 0),
        "best": study.best,
        "metric": study.metric,
        "created": study.created_at,
    }
    if study.damage is None:
        return row
    row |= dict.fromkeys(("network", "finished", "running", "failed", "metric"))
    if as_json:
        return row | {"data": None, "damage": study.damage}
    return row | {"data": f"damaged: {clipped(study.damage, _DAMAGE_CHARACTERS)}"}


def study_facts(study: StudyRow, summary: Summary) -> dict[str, Any]:
    """What `study show` prints."""
    spec = study.spec
    best = summary.best.trial
    return {
        "study": study.name,
        "damaged": study.damage,
        "created": study.created_at,
        "made_by": f"tuner {study.version}" if study.version else None,
        "data": spec.data.source,
        "columns": spec.data.columns,
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
        "trials": summary.trials,
        "ends": summary.ends,
        "attempts_lost": summary.lost or None,
        "best_trial": best.number if best else None,
        "best_score": best.value if best else None,
        "best_params": best.params if best else None,
    }


def _scored_on(study: StudyRow) -> str | None:
    return "test split, after the last epoch" if study.spec.held_out == "test" else None


def _options(options: dict[str, Any]) -> str:
    return " ".join(f"{name}={word(value)}" for name, value in options.items())


def print_trials(
    store: Store, study: StudyRow, best_first: bool, most: int | None, as_json: bool
) -> None:
    """A study's trials, at most so many; in a table then how many more there are."""
    spec = study.spec
    trials = stream_trials(store, study, best_first, most)
    varying = spec.space.varying()
    rows = (table_row(trial, only=varying) for trial in trials)
    if as_json:
        print_json_rows(rows)
        return
    say(f"study {study.name}: {spec.metric}, {spec.direction}")
    printed = stream_rows(
        (_table_cells(row, varying) for row in rows),
        names=[*map(_column, varying)],
        lead=len(TABLE_COLUMNS) - 1,
    )
    more = count_trials(store, study) - printed if printed == most else 0
    if more > 0:
        order = ["--best-first"] if best_first else []
        every = command("trial", "list", in_command(study.name), *order, "--all")
        say(f"{more:,} more; all: {every}")


def _table_cells(row: dict[str, Any], varying: Sequence[str]) -> dict[str, Any]:
    """A trial's row for people: state and end are one column, each parameter has one."""
    cells = {name: row[name] for name in TABLE_COLUMNS if name != "end"}
    cells["state"] = _state(row)
    return cells | {_column(name): row["params"].get(name) for name in varying}


def _column(name: str) -> str:
    """A parameter's column: `epochs` may be searched, and is also how many were trained."""
    return f"{name}_param" if name in TABLE_COLUMNS else name


def _state(row: Mapping[str, Any]) -> str:
    """How a trial ended, or how it stands: `worker_lost` says more than that it was pruned."""
    state, end = row["state"], row["end"]
    if row.get("damage"):
        return f"damaged: {clipped(row['damage'], _DAMAGE_CHARACTERS)}"
    if state in ("waiting", "running"):
        return f"{state} ({end})" if end else str(state)
    return str(end or state)


def print_trial(study: StudyRow, trial: TrialRow, curve: list[ReportRow], as_json: bool) -> None:
    """One trial whole: facts, attempts, and a row a report interval."""
    facts: dict[str, Any] = {"study": study.name, "queued": trial.state == "WAITING"}
    facts |= table_row(trial) | {"retry_of": trial.retry_of}
    if unreadable := list(dict.fromkeys(what for i in curve for what in i.damage)):
        told = "; ".join(unreadable[:3])
        facts |= {"state": "damaged", "damage": "; ".join(filter(None, [trial.damage, told]))}
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
    state = _state(facts | {"damage": None}) if facts["state"] != "damaged" else "damaged"
    hidden = ("queued", "end")
    shown_facts = {name: value for name, value in facts.items() if name not in hidden}
    show_facts(shown_facts | {"state": state}, False)
    if len(attempts) > 1:
        show_rows(attempts, False)
    most = [*rows[0]][:_MOST_COLUMNS] if rows else []
    show_rows([{name: row[name] for name in most} for row in rows], False)


def queued(study: str, number: int, waiting: int) -> str:
    """What to know of a trial that was queued."""
    return (
        f"study {study}: trial {number} is queued ({waiting} waiting)\n"
        "it takes one of the study's places, before anything the sampler proposes\n"
        "next: " + command("optimize", in_command(study), "--more", 1)
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
        print_json(
            [
                {"study": d.study, "sent": d.sent, "owed": d.missing, "problem": d.problem}
                for d in done
            ]
        )
    for one in done:
        if not as_json:
            say(f"study {one.study}: {one.sent} trials sent, {one.missing} owed")
        if one.problem:
            complain(f"study {one.study}: {one.problem}")
    return 1 if any(one.missing or one.problem for one in done) else 0


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
        remedies = {difference.remedy for one in found for difference in one.differences}
        what = "what can be mended" if "none" in remedies else "this"
        for one in found:
            if one.differences:
                say(f"to put {what} right: {command('sync', in_command(one.study))}")
    return 1 if rows else 0


def confirm_deletion(store: Store, study: StudyRow, yes: bool) -> None:
    """Ask, unless told not to. Raises typer.Abort when the answer is no."""
    if not yes:
        count = count_trials(store, study)
        typer.confirm(
            f"delete study {one_line(study.name)} with its {count} trials, saved networks and "
            "MLflow runs?",
            abort=True,
        )
