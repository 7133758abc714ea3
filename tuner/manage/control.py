"""What people ask of a study: how many trials, how urgent, what ends its search early."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

from tuner.algorithms.expected_gain import GainLimit
from tuner.errors import UsageError
from tuner.manage.standstill import explain_standstill
from tuner.runner import (
    Limits,
    check_gain_limit,
    check_members,
    most_trials,
    stop_searches,
    whole_population,
)
from tuner.runner.progress import all_done
from tuner.storage import Store, slots, study_control
from tuner.storage.daemon_rows import list_daemons
from tuner.storage.studies import StudyRow, check_is_search, load_study
from tuner.study.study_state import StudyState
from tuner.system.names import as_option, command, in_command
from tuner.system.quantities import parse_seconds
from tuner.values import shown

_MOST_PRIORITY = 1_000_000
# The word that removes a limit.
NO_LIMIT = "none"


@dataclass(frozen=True)
class StudyPlan:
    """What is asked of a study; None leaves it as it is. `trials`: its total. `priority`: daemons
    take studies of a higher one first. The others end a daemon's search of it early, as the
    options of `tuner optimize` do for a search in the foreground; the word none removes one."""

    trials: int | None = None
    priority: int | None = None
    target: str | float | None = None
    patience_trials: str | int | None = None
    trial_timeout: str | float | None = None
    until_sure: str | float | None = None

    @property
    def is_empty(self) -> bool:
        return all(getattr(self, each.name) is None for each in fields(self))

    def check(self, spell: Callable[[str], str] = as_option) -> None:
        """`spell`: how the user wrote the names. Raises UsageError."""
        if self.trials is not None:
            Limits.check_count(spell("trials"), self.trials)
        priority = self.priority
        if priority is not None:
            is_whole = isinstance(priority, Integral) and not isinstance(priority, bool)
            if not is_whole or abs(priority) > _MOST_PRIORITY:
                raise UsageError(
                    f"{spell('priority')} must be a whole number from {-_MOST_PRIORITY} to "
                    f"{_MOST_PRIORITY}, got {shown(priority)}"
                )
        self._limits(spell)

    def _limits(self, spell: Callable[[str], str] = as_option) -> dict[str, Any]:
        """The limits that change, by the names of `Limits`; None for one that is removed."""
        limits: dict[str, Any] = {}
        if self.target is not None:
            target = None if self.target == NO_LIMIT else _number(spell("target"), self.target)
            Limits.check_target(spell("target"), target)
            limits["target"] = target
        if (patience := self.patience_trials) is not None:
            count = None if patience == NO_LIMIT else _whole(patience)
            if count is not None:
                Limits.check_count(spell("patience_trials"), count)
            limits["patience_trials"] = count
        if (timeout := self.trial_timeout) is not None:
            limit = None if timeout == NO_LIMIT else timeout
            limits["trial_timeout_s"] = parse_seconds(limit, spell("trial_timeout"))
        if (sure := self.until_sure) is not None:
            gain = None if sure == NO_LIMIT else GainLimit.parse(sure, spell("until_sure"))
            limits["until_sure"] = None if gain is None else str(gain)
        return limits


def _number(name: str, value: str | float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} must be a number or {NO_LIMIT}, got {shown(value)}") from error


def _whole(value: str | int) -> object:
    """The number that a text spells; anything else as it is, to be refused."""
    is_number = isinstance(value, str) and value.isascii() and value.isdecimal()
    return int(value) if is_number else value


def plan_study(store: Store, study: StudyRow, plan: StudyPlan, may_lower: bool = True) -> int:
    """Do what is asked of a study; its total of trials then. A lower total keeps all trials that
    have begun; without `may_lower` it is left as it is. A grid has no more trials than points.
    Raises StudyError for the total of a comparison, LeaseLost for a study that was deleted."""
    plan.check()
    check_gain_limit(study, None if plan.until_sure == NO_LIMIT else plan.until_sure)
    if plan.trials is not None:
        check_is_search(study, "study set --trials")
        check_members(study, plan.trials)
        trials = min(plan.trials, most_trials(store, study))
        if may_lower:
            study_control.set_total(store, study, trials)
        else:
            slots.ensure_slots(store, study, trials)
    if plan.priority is not None:
        study_control.set_priority(store, study, plan.priority)
    if limits := plan._limits():
        study_control.change_limits(store, study, limits)
    return slots.total_slots(store, study)


def describe_plan(store: Store, study: StudyRow, plan: StudyPlan) -> str:
    """What holds for the study now, in a line: its total where that was asked for, and the rest
    that differs from the defaults."""
    now = load_study(store, study.name)
    total = slots.total_slots(store, study)
    facts = [f"{total} trials in all"]
    if plan.trials is not None and total > min(plan.trials, most_trials(store, study)):
        facts[0] += ", since so many have begun"
    elif plan.trials is not None and total < plan.trials:
        is_grid = study.spec.sampler.name == "grid"
        which = "grid has no more points" if is_grid else "space has no more configurations"
        facts[0] += f", since the {which}"
    if plan.priority is not None or now.priority:
        facts.append(f"priority {now.priority}")
    limits = Limits.stored(now.limits)
    named = {
        "target": limits.target,
        "patience": limits.patience_trials and f"{limits.patience_trials} trials",
        "trial timeout": limits.trial_timeout_s and f"{limits.trial_timeout_s:g} s",
        "until sure": limits.until_sure,
    }
    facts += [f"{name} {value}" for name, value in named.items() if value is not None]
    return ", ".join(facts)


def change_state(store: Store, study: StudyRow, state: StudyState) -> str:
    """Pause, stop or resume a study; what that means now, in a line. Raises LeaseLost for a study
    that was deleted."""
    if state is StudyState.STOPPED:
        working = stop_searches(store, study)
    else:
        working = study_control.set_state(store, study, state)
    who, name = ", ".join(map(str, working)), in_command(study.name)
    resume = command("study", "resume", name)
    if state is StudyState.PAUSED:
        asked = f"asked to pause: {who}" if who else "paused"
        return f"{asked}; to go on: {resume}"
    if state is StudyState.STOPPED:
        asked = f"asked to stop: {who}" if who else "no search runs"
        return f"{asked}; daemons leave it alone until: {resume}"
    if working:
        return f"goes on: {who}"
    total, daemons = slots.total_slots(store, study), list_daemons(store)
    if total and all_done(store, study, total):
        more = command("study", "set", name, "--trials", 2 * total)
        return f"all its trials are done; for more: {more}"
    return f"may go on; {explain_standstill(study, state, total, daemons).in_words}"


def next_command(store: Store, study: StudyRow) -> str:
    """What to do with a study that was created: search it, or, where trials are asked for, start a
    daemon or watch the one that is there."""
    name = in_command(study.name)
    if not slots.total_slots(store, study):
        return command("optimize", name, "--trials", whole_population(study.spec) or 100)
    return command("study", "watch", name) if list_daemons(store) else command("worker")
