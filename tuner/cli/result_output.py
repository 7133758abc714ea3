"""What commands print of searches, comparisons, trials and MLflow's state.

Imported inside the bodies of commands: `--help` needs no storage.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.cli.output import (
    complain,
    console,
    format_param,
    format_value,
    one_line,
    print_fact,
    print_json,
    print_json_rows,
    say,
    show_facts,
    show_rows,
    stream_rows,
)
from tuner.reports.study_tables import (
    Facts,
    TrialReport,
    front_facts,
    front_rows,
    trial_cells,
    trial_state,
    with_metrics,
)
from tuner.storage import Store
from tuner.storage.corrections import has_finished
from tuner.storage.pareto_front import pareto_front
from tuner.storage.studies import StudyRow, no_finished_trial
from tuner.storage.trial_pages import find_trial_ids
from tuner.storage.trials import (
    TABLE_COLUMNS,
    Best,
    Summary,
    TrialRow,
    count_trials,
    param_column,
    stream_by_ids,
    stream_trials,
    summarize,
    table_row,
    varying_params,
)
from tuner.study.ends import StopReason, TrialEnd
from tuner.study.messages import WorkerPlace
from tuner.system.names import command, in_command, printable

if TYPE_CHECKING:
    from tuner.reports.comparison_tables import ComparisonTable
    from tuner.runner import Delivered, Outcome, Repaired, RunStatus
    from tuner.tracking.sync import Checked, Synced

# A trial's table of reports is cut at this many columns: 14 fit most terminals.
_MOST_COLUMNS = 14
EXIT_CODES: dict[str | None, int] = {
    StopReason.INTERRUPTED: 130,
    StopReason.STOPPED: 130,
    StopReason.ERRORS: 1,
}


def print_outcome(
    store: Store,
    study: StudyRow,
    outcome: "Outcome",
    delivered: "Delivered | None",
    as_json: bool,
) -> int:
    """Print how a search ended, its best trial and what to do next. Returns the exit code."""
    from tuner.runner import most_trials

    summary = summarize(store, study)
    best = summary.best.trial
    if as_json:
        facts = {"study": study.name, "stopped": outcome.reason, "ends": summary.ends}
        print_json(facts | {"best": table_row(best) if best else None})
    else:
        _print_ends(study, summary, outcome)
        if best is not None:
            print_best(study, best)
        _print_next_steps(
            study, outcome, best, has_more=outcome.status.total < most_trials(store, study)
        )
        if delivered is not None and delivered.link is not None:
            say(f"\nthe trials side by side in MLflow:\n  {delivered.link}")
    complain_of_damage(summary.best)
    complain_of_delivery(study, delivered)
    if outcome.reason is StopReason.ERRORS:
        from tuner.manage.searching import describe_failure

        complain(describe_failure(study, outcome))
        if study.spec.code:
            complain(_how_to_correct(study, has_finished(store, study)))
    if outcome.reason is None and _ended_in_vain(summary):
        show = command("trial", "show", 0, "--study", in_command(study.name))
        complain(f"no trial has a score, and none was pruned; to see why: {show}")
        return 1
    return EXIT_CODES.get(outcome.reason, 0)


def print_watched(study: StudyRow, status: "RunStatus") -> None:
    """Print how a study that was watched has ended, and what to do next."""
    best = ""
    if status.best is not None:
        best = f"; best: trial {status.best_trial}, {study.spec.metric} {format_value(status.best)}"
    say(f"study {study.name}: {status.done} of {status.total} trials done{best}")
    say(f"next: {command('study', 'best', in_command(study.name))}")


def _ended_in_vain(summary: Summary) -> bool:
    """Whether trials have ended, and none of them as trials do where nothing is wrong."""
    usual = {end.value for end in TrialEnd if end.is_usual}
    ended = summary.ends.keys() & {end.value for end in TrialEnd}
    return bool(ended) and usual.isdisjoint(ended)


def _how_to_correct(study: StudyRow, has_finished: bool) -> str:
    """What to do after an error in the user's own code."""
    files = ", ".join(printable(path) for path in study.spec.code)
    if has_finished:
        return (
            f"trials have finished with the study's {files} as stored, so corrected files need a "
            "new study with another name"
        )
    return (
        f"if the mistake is in {files}: correct it, and create the study again with the same "
        "options. No trial has finished, so the study takes the corrected files. Then: "
        + command("optimize", in_command(study.name))
    )


def _print_ends(study: StudyRow, summary: Summary, outcome: "Outcome") -> None:
    counts = ", ".join(f"{count} {end.replace('_', ' ')}" for end, count in summary.ends.items())
    say(f"\nstudy {study.name}: {counts or 'no trial yet'}")
    if outcome.reason:
        say(_describe_stop(outcome))


def _describe_stop(outcome: "Outcome") -> str:
    assert outcome.reason is not None  # It stopped before its end.
    count = outcome.put_back
    interrupted = f"; {count} running trial{'s' * (count > 1)} interrupted" if count else ""
    return f"stopped: {outcome.reason.in_words}{interrupted}"


def print_front(store: Store, study: StudyRow, as_json: bool) -> None:
    """Print the Pareto front of a study with several objectives. Raises StudyError where no trial
    has finished."""
    front = pareto_front(store, study)
    if not front:
        raise no_finished_trial(study)
    if as_json:
        print_json(front_facts(study, front))
        return
    trials = f"{len(front)} trial{'s' * (len(front) > 1)}"
    say(f"study {study.name}: {study.spec.objectives_in_words}\n\nthe Pareto front: {trials}")
    show_rows(front_rows(study, front), as_json)


def print_best(study: StudyRow, best: TrialRow) -> None:
    """Print the best trial as a small table."""
    spec = study.spec
    score = format_value(best.value)
    split = " on the validation split" if spec.data is not None else ""
    say(f"\nbest: trial {best.number}, {spec.metric} {score}{split}")
    if best.metrics:
        say("  " + ", ".join(f"{n} {format_value(value)}" for n, value in best.metrics.items()))
    # Parameters that the space file does not name have their defaults, and would hide the others.
    declared = best.params if spec.function_kind.defines_space else spec.space.parameters
    params = {name: value for name, value in best.params.items() if name in declared}
    width = max((len(name) for name in params), default=0)
    for name, value in params.items():
        print_fact(f"  {name:<{width}}  ", one_line(_format_params(value)))
    last = best.last
    if last is not None and last.parameter_count:
        epochs = f"best epoch {last.best_epoch} of {last.epochs}"
        say(f"  ({last.parameter_count:,} parameters, {epochs})")


def _format_params(value: Any) -> str:
    return " ".join(map(format_param, value)) if isinstance(value, list) else format_param(value)


def _print_next_steps(
    study: StudyRow, outcome: "Outcome", best: TrialRow | None, has_more: bool
) -> None:
    """`has_more`: whether the space has configurations for more trials."""
    name = in_command(study.name)
    say("\nnext:")
    if outcome.status.done < outcome.status.total:
        again = command("optimize", name, "--trials", outcome.status.total)
        say(f"  {again}   continues the search")
    elif has_more:
        say(f"  {command('optimize', name, '--more', 50)}   adds trials")
    else:
        say("  every configuration of the space has been tried; a new study may have a larger one")
    if best is not None:
        _print_uses(study, best)
    say(f"  {command('ui')}   compares the trials in MLflow and the Optuna dashboard")


def _print_uses(study: StudyRow, best: TrialRow) -> None:
    """What can be done with the best trial's network, if it has one."""
    name, suffix = in_command(study.name), network_suffix(study, best)
    if suffix:
        say(f"  {command('study', 'best', name, '--save', f'best{suffix}')}   writes the network")
    if predicts(study, suffix):
        say(f"  {command('predict', name, 'DATA')}   predicts new rows with it")


def network_suffix(study: StudyRow, trial: TrialRow) -> str:
    """What the name of the trial's network ends with; "" where a function has saved none."""
    if not study.spec.function_kind.trains:
        return ".keras"
    saved = trial.last.model if trial.last is not None else None
    return "" if saved is None else Path(saved.path).suffix


def predicts(study: StudyRow, suffix: str) -> bool:
    """Whether tuner can predict with a network of this suffix: it knows how to prepare rows."""
    return suffix == ".keras" and study.spec.data is not None


def complain_of_damage(best: Best) -> None:
    """Name the trials that would be the best if their rows could be read."""
    if best.damaged:
        first, others = best.damaged[0], len(best.damaged) - 1
        more = f", and {others:,} more" if others else ""
        complain(
            f"trial {first.number} has a better score, but is damaged ({first.damage}){more}: "
            "left out"
        )


def complain_of_delivery(study: StudyRow, delivered: "Delivered | None") -> None:
    """Say what MLflow lacks after a search, and how to send it."""
    from tuner.manage.searching import describe_delivery

    if (problem := describe_delivery(study, delivered)) is not None:
        complain(problem)


def print_comparison(
    study: StudyRow,
    table: "ComparisonTable",
    files: Sequence[Path],
    ran: "tuple[Outcome, Delivered | None] | None",
    as_json: bool,
) -> int:
    """Print a comparison's table. `ran`: how its search ended; None if nothing was left to train.
    Returns the exit code."""
    outcome, delivered = ran if ran is not None else (None, None)
    reason = outcome.reason if outcome is not None else None
    if as_json:
        facts = {"study": study.name, "metric": study.spec.metric, "stopped": reason}
        rows = {"common": table.common, "rows": table.numbers()}
        print_json(facts | rows | {"files": [str(file) for file in files]})
    else:
        _print_comparison_table(study, table, files)
    if delivered is not None and delivered.link is not None and not as_json:
        say(f"in MLflow: {delivered.link}")
    if outcome is not None and reason is not None:
        if not as_json:
            say(f"{_describe_stop(outcome)}; the same command continues")
        if reason is StopReason.ERRORS:
            from tuner.manage.searching import describe_failure

            complain(describe_failure(study, outcome))
    complain_of_delivery(study, delivered)
    return EXIT_CODES.get(reason, 0)


def _print_comparison_table(
    study: StudyRow, table: "ComparisonTable", files: Sequence[Path]
) -> None:
    from tuner.reports.comparison_tables import params_in_words
    from tuner.reports.comparisons import caption
    from tuner.reports.heat_maps import heat_map_panels, terminal_heat_maps

    say(f"\nstudy {study.name}: {caption(study)}")
    show_rows(table.words(), False)
    for picture in terminal_heat_maps(table, heat_map_panels(table)):
        console().print(picture)
        say()
    if table.common:
        say(f"the same for all: {params_in_words(table.common)}; all else by default")
    say(f"wrote {', '.join(str(file) for file in files)}")


@dataclass(frozen=True)
class TrialOrder:
    """Which trials are listed, and in which order: the options of `tuner trial list`."""

    best_first: bool = False
    sort: str = ""
    filter: str = ""

    @property
    def words(self) -> list[str]:
        """The options, for a suggested command."""
        words = ["--best-first"] if self.best_first else []
        words += [f"--sort={self.sort}"] if self.sort else []
        return words + ([f"--filter={self.filter}"] if self.filter else [])


def print_trials(
    store: Store, study: StudyRow, order: TrialOrder, most: int | None, as_json: bool
) -> None:
    """Print a study's trials, at most `most`; under a table also how many more there are. Raises
    UsageError for a mistake in the order."""
    spec = study.spec
    trials, count = _ordered_trials(store, study, order, most)
    varying = varying_params(store, study)
    rows = (table_row(trial, only=varying) for trial in trials)
    if as_json:
        print_json_rows(rows)
        return
    say(f"study {study.name}: {spec.objectives_in_words}")
    printed = stream_rows(
        (trial_cells(row, varying) for row in rows),
        names=[param_column(name, spec.beside_score) for name in varying],
        lead=len(TABLE_COLUMNS) - 1 + len(spec.beside_score),
    )
    if not printed and order.filter:
        say(f"no trial meets {order.filter}")
    more = count() - printed if printed == most else 0
    if more > 0:
        all_trials = command("trial", "list", in_command(study.name), *order.words, "--all")
        say(f"{more:,} more; all: {all_trials}")


def _ordered_trials(
    store: Store, study: StudyRow, order: TrialOrder, most: int | None
) -> tuple[Iterator[TrialRow], Callable[[], int]]:
    """The trials to list, and a function that counts those that there are."""
    if not (order.sort or order.filter):
        trials = stream_trials(store, study, order.best_first, most)
        return trials, lambda: count_trials(store, study)
    trial_ids = find_trial_ids(store, study, order.sort, order.filter)
    return stream_by_ids(store, study, trial_ids[:most]), lambda: len(trial_ids)


def print_trial(trial: TrialReport, as_json: bool) -> None:
    """Print one trial: its facts, its attempts if there were several, and its reports."""
    if as_json:
        schedule = {"schedule": trial.schedule} if trial.schedule else {}
        reports = {"attempts": trial.attempts, "intervals": trial.reports}
        print_json(trial.facts | schedule | reports)
        return
    names = [name for name in trial.facts if name not in ("queued", "end")]
    facts = with_metrics(trial.facts, names)
    if facts["state"] != "damaged":
        facts["state"] = trial_state(trial.facts | {"damage": None})
    for name in ("parameter_count", "engine"):  # a user's own function may have neither
        if not facts.get(name):
            facts.pop(name, None)
    if facts.get("engine") and trial.engine_reason:
        facts["engine"] = f"{facts['engine']}, because {trial.engine_reason}"
    show_facts(facts, False)
    show_rows(trial.schedule, False)
    if len(trial.attempts) > 1:
        show_rows(_attempt_cells(trial.attempts), False)
    columns = [*trial.reports[0]][:_MOST_COLUMNS] if trial.reports else []
    show_rows([{name: row[name] for name in columns} for row in trial.reports], False)


def _attempt_cells(attempts: Sequence[Facts]) -> list[Facts]:
    """The rows of attempts for people: one column for machine and node, if any was trained on
    another machine than its loop's."""
    elsewhere = any(attempt["host"] is not None for attempt in attempts)
    rows: list[Facts] = []
    for attempt in attempts:
        place = attempt["host"] and str(WorkerPlace(attempt["host"], attempt["node"] or ""))
        cells = {"trained_on" if name == "host" else name: attempt[name] for name in attempt}
        if elsewhere:
            cells["trained_on"] = place
        else:
            del cells["trained_on"]
        del cells["node"]
        rows.append(cells)
    return rows


def print_queued(study: str, number: int, waiting: int) -> None:
    """Print what happens with a trial that was queued."""
    say(
        f"study {study}: trial {number} is queued ({waiting} waiting)\n"
        "it takes one of the study's trial slots, before the sampler proposes others\n"
        "next: " + command("optimize", in_command(study), "--more", 1)
    )


def print_repaired(study: str, done: "Repaired") -> None:
    """Print what `study repair` did."""
    counts = {
        "trial slots of dead searches released": done.settled,
        "running trials without a slot marked failed": done.failed,
        "attempts without an end closed": done.closed,
    }
    repairs = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    say(f"study {study}: {repairs or 'nothing to repair'}")


def print_synced(results: Sequence["Synced"], as_json: bool) -> int:
    """Print what `sync` sent. Returns the exit code."""
    if as_json:
        print_json([_sync_facts(result) for result in results])
    for result in results:
        if not as_json:
            say(f"study {result.study}: {result.sent} trials sent, {result.missing} not delivered")
        if result.problem:
            complain(f"study {result.study}: {result.problem}")
    return 1 if any(result.missing or result.problem for result in results) else 0


def _sync_facts(result: "Synced") -> dict[str, Any]:
    return {
        "study": result.study,
        "sent": result.sent,
        "owed": result.missing,
        "problem": result.problem,
    }


def print_checked(results: Sequence["Checked"], as_json: bool) -> int:
    """Print where MLflow differs from SQL. Returns the exit code."""
    rows = [
        {"study": result.study, "trial": difference.trial, "difference": difference.what}
        for result in results
        for difference in result.differences
    ]
    if as_json:
        print_json(rows)
        return 1 if rows else 0
    show_rows(rows, False)
    for result in results:
        if not result.differences:
            say(f"study {result.study}: MLflow shows all {result.trials} trials as SQL has them")
    remedies = {difference.remedy for result in results for difference in result.differences}
    what = "what can be repaired" if "none" in remedies else "this"
    for result in results:
        if result.differences:
            say(f"to repair {what}: {command('sync', in_command(result.study))}")
    return 1 if rows else 0
