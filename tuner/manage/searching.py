"""Searching a study: what `tuner optimize` and `Study.optimize` have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from tuner.algorithms.expected_gain import GainLimit
from tuner.errors import SearchFailed, TunerError, UsageError
from tuner.manage.creation import check_code
from tuner.manage.databases import may_track
from tuner.manage.search_cluster import ClusterWanted
from tuner.notices import check_addresses
from tuner.runner import (
    BEST_KEPT,
    Delivered,
    Limits,
    Outcome,
    SearchOptions,
    Watcher,
    announce_failure,
    check_gain_limit,
    optimize,
    slots_wanted,
    study_announcer,
)
from tuner.settings import Settings
from tuner.storage import Store
from tuner.storage.kept_networks import EVERY
from tuner.storage.slots import total_slots
from tuner.storage.studies import StudyRow, check_is_search
from tuner.storage.trials import find_trial
from tuner.study.ends import StopReason
from tuner.study.engines import Engine
from tuner.system.names import as_option, command, in_command
from tuner.system.quantities import parse_bytes, parse_seconds
from tuner.values import shown

LogModels = Literal["best", "all", "none"]
LOG_MODELS: tuple[LogModels, ...] = get_args(LogModels)
ENGINES: tuple[Engine, ...] = get_args(Engine)


@dataclass(frozen=True)
class SearchWanted:
    """What a search was asked for, as it was typed; None means the default. `trials`, `more`: the
    study's total of trials, or how many to add; one of them is given. Times and sizes are numbers
    of seconds and bytes, or texts such as 30m and 2GiB. `data`: where the study's data lie now.
    `until_sure`: what `GainLimit.parse` takes. `keep_models`: a number, or all. `notify`: who is
    told of new bests, the end and failures, besides TUNER_NOTIFY: see
    `notices.receivers.read_addresses`. `on`, `trial_cpus`, `trial_gpus`: see ClusterWanted."""

    trials: int | None = None
    more: int | None = None
    workers: int | None = None
    timeout: str | float | None = None
    target: float | None = None
    patience_trials: int | None = None
    until_sure: str | float | None = None
    tracking: bool = True
    log_models: LogModels = "best"
    keep_models: str | int | None = None
    engine: Engine = "auto"
    lanes: int = 1
    trial_timeout: str | float | None = None
    trial_memory: str | float | None = None
    data_memory: str | float | None = None
    data: str | None = None
    notify: Sequence[str] = ()
    on: str | None = None
    trial_cpus: float | None = None
    trial_gpus: float | None = None

    @property
    def cluster(self) -> ClusterWanted:
        """Where its workers run."""
        return ClusterWanted(self.on, self.trial_cpus, self.trial_gpus)

    def options(self, spell: Callable[[str], str] = as_option) -> SearchOptions:
        """The same, checked; the total of trials is decided by the study later. `spell`: how the
        user wrote the names. Raises UsageError."""
        Limits.check(
            trials=self.trials,
            more=self.more,
            workers=self.workers,
            patience_trials=self.patience_trials,
            target=self.target,
            lanes=self.lanes,
            spell=spell,
        )
        if str(self.engine) not in ENGINES:
            engines = " or ".join(ENGINES)
            raise UsageError(f"{spell('engine')} must be {engines}, got {shown(self.engine)}")
        if str(self.log_models) not in LOG_MODELS:
            raise UsageError(
                f"{spell('log_models')} must be best, all or none, got {shown(self.log_models)}"
            )
        keep_models = self._most_kept(spell)
        self.cluster.check(self.lanes, spell)
        check_addresses(self.notify, spell("notify"))
        return SearchOptions(
            limits=Limits(
                trials=0,
                timeout_s=parse_seconds(self.timeout, spell("timeout")),
                target=self.target,
                patience_trials=self.patience_trials,
                trial_timeout_s=parse_seconds(self.trial_timeout, spell("trial_timeout")),
                until_sure=None
                if self.until_sure is None
                else GainLimit.parse(self.until_sure, spell("until_sure")),
            ),
            workers=self.workers,
            tracking=self.tracking,
            log_models=self.log_models,
            keep_models=keep_models,
            data_memory_bytes=parse_bytes(self.data_memory, spell("data_memory")),
            trial_memory_bytes=parse_bytes(self.trial_memory, spell("trial_memory")),
            engine=self.engine,
            lanes=self.lanes,
            data=self.data,
        )

    def _most_kept(self, spell: Callable[[str], str]) -> int:
        """How many networks the study keeps. Raises UsageError."""
        if self.keep_models is None:
            return BEST_KEPT
        most = networks_to_keep(self.keep_models, spell("keep_models"))
        if self.log_models == "all" and most != EVERY:
            raise UsageError(
                f"{spell('log_models')} all sends every network to MLflow, so every network is "
                f"kept: leave out {spell('keep_models')}, or log the best only"
            )
        return most


def networks_to_keep(wanted: str | int, name: str) -> int:
    """The number of networks; EVERY for all. `name`: of the option. Raises UsageError."""
    if wanted == "all":
        return EVERY
    text = str(wanted)
    if isinstance(wanted, bool) or not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UsageError(f"{name} must be a whole number from 0 on, or all, got {shown(wanted)}")
    return int(text)


def search_study(
    settings: Settings,
    store: Store,
    study: StudyRow,
    wanted: SearchWanted,
    watcher: Watcher,
    stage: Callable[[str], None],
    tell: Callable[[str], None],
    owns_process: bool,
) -> tuple[Outcome, Delivered | None]:
    """Train trials until the study has as many as are wanted, or a limit is met. `stage` is told
    what the search is doing; `tell`, what the user should know. `owns_process`: see
    `runner.stopping.Interrupts`. Raises TunerError."""
    options = wanted.options()
    check_is_search(study, "optimize")
    check_gain_limit(study, wanted.until_sure)
    with study_announcer(store, wanted.notify) as announcer:
        try:
            check_code(study.spec, settings, wanted.data)
            with wanted.cluster.opened(settings, stage, tell) as back_end:
                options = _of_study(options, store, study, wanted, stage, tell)
                return optimize(
                    settings,
                    store,
                    study,
                    replace(options, back_end=back_end),
                    watcher,
                    stage,
                    owns_process=owns_process,
                    announcer=announcer,
                )
        except TunerError as error:
            announce_failure(announcer, study, f"stopped: {error}")
            raise


def _of_study(
    options: SearchOptions,
    store: Store,
    study: StudyRow,
    wanted: SearchWanted,
    stage: Callable[[str], None],
    tell: Callable[[str], None],
) -> SearchOptions:
    """The options with what the study decides. It gets the trial slots that are wanted."""
    asked = wanted.trials or total_slots(store, study) + (wanted.more or 0)
    total = slots_wanted(store, study, wanted.trials, wanted.more)
    why = ", since the space has no more configurations" if total < asked else ""
    stage(f"study {study.name}: {total} trials{why}")
    return replace(
        options,
        limits=replace(options.limits, trials=total),
        # A new total of the study holds for this search too, unless it wants a part.
        follows_total=total >= total_slots(store, study),
        tracking=options.tracking and may_track(store, tell),
    )


def describe_failure(study: StudyRow, outcome: Outcome) -> str:
    """What failed in a search that three failures in a row have ended, in a line."""
    show = command("trial", "show", outcome.failed_trial, "--study", in_command(study.name))
    return f"{outcome.failure}; the traceback: {show}"


def describe_delivery(study: StudyRow, delivered: Delivered | None) -> str | None:
    """What MLflow lacks after a search, and how to send it; None if it has everything."""
    if delivered is None or not (delivered.missing or delivered.problem):
        return None
    sync = command("sync", in_command(study.name))
    if delivered.is_left_to_another:
        return f"{delivered.missing} trials are not in MLflow yet; another search sends them"
    if not delivered.missing:
        return f"MLflow differs from SQL ({delivered.problem}); to repair it: {sync}"
    why = f" ({delivered.problem})" if delivered.problem else ""
    return (
        f"{delivered.missing} trials are not in MLflow yet{why}; SQL has them all; "
        f"when MLflow is back: {sync}"
    )


def check_outcome(store: Store, study: StudyRow, outcome: Outcome) -> None:
    """Raises SearchFailed, with the user's traceback, if failures have ended the search."""
    if outcome.reason is not StopReason.ERRORS or outcome.failed_trial is None:
        return
    last = find_trial(store, study, outcome.failed_trial).last
    detail = last.detail if last is not None else None
    raise SearchFailed(f"three trials in a row failed; {outcome.failure}", detail)
