"""One search: from what `tuner optimize` was asked for to how it ended."""

import functools
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from tuner.algorithms.population import PopulationOptions
from tuner.algorithms.pruners import PRUNERS, make_pruner
from tuner.algorithms.repeats import TriedPoints, avoids_repeats
from tuner.algorithms.samplers import SAMPLERS, InView, make_sampler
from tuner.data import describe_inputs, save_dataset
from tuner.errors import LeaseLost, StudyError, UsageError
from tuner.manage.databases import is_settled
from tuner.manage.stored_functions import user_metrics, user_network
from tuner.notices import Announcer
from tuner.runner.announcing import AnnouncedSearch
from tuner.runner.later_deletions import Deletion, LaterDeletions, at_once
from tuner.runner.loop import Loop, Outcome
from tuner.runner.metered_workers import Meter, metered
from tuner.runner.network_keeping import BEST_KEPT, KeptNetworks
from tuner.runner.progress import RunStatus, Silent, Watcher, all_done, refresh_status
from tuner.runner.stopping import MOST_TRIALS, Interrupts, Limits, Stopping
from tuner.runner.study_files import (
    CHECKPOINT_EVERY_S,
    TrialFiles,
    mark_owner,
    scratch_folder,
    search_log,
    trained_on,
)
from tuner.runner.trial_writer import TrialWriter, repair
from tuner.search_space.parameters import NETWORKS
from tuner.settings import Settings, quiet_tensorflow, tuner_version
from tuner.storage import Store, leases, slots
from tuner.storage.corrections import has_definition
from tuner.storage.damage import is_identity
from tuner.storage.frozen_trials import OrderedCache, Outlining
from tuner.storage.identity import database_uuid
from tuner.storage.kept_networks import EVERY
from tuner.storage.leases import LEASE_S, Holder, Lease
from tuner.storage.new_points import read_all
from tuner.storage.schema import StudyKey
from tuner.storage.studies import StudyRow, name_objectives
from tuner.storage.study_control import set_state
from tuner.study.artifacts import check_store, open_artifacts
from tuner.study.ends import StopReason, TrialEnd
from tuner.study.engines import Engine
from tuner.study.lineage import generation_count
from tuner.study.messages import Direction, StudyOrigin, TrialRequest, WorkerSetup
from tuner.study.spec import StudySpec
from tuner.study.study_state import StudyState
from tuner.system.logs import log_format, log_to_file, logging_about
from tuner.tracking.process import Delivered, LateTracker, TrackerProcess, start_tracker
from tuner.training.program_key import program_key
from tuner.workers import BackEnd, EntryPoint, Workers, back_end
from tuner.workers.base import FUNCTIONS, KERAS

logger = logging.getLogger(__name__)
_DELIVERY_S = 120.0
# So long the tracker leaves the machine to the first trials, unless one has reported before.
_TRACKER_AFTER_S = 4.0
# So long a search waits for its database, unless a signal came: it outlasts a restart at night.
_DATABASE_S = 600.0


@dataclass(frozen=True)
class SearchOptions:
    """What `tuner optimize` was asked for.

    `log_models`: best, all or none; all keeps all networks. `keep_models`: how many of the study's
    best trials keep theirs, or EVERY. `data_memory_bytes`: the memory that the data may take in
    each worker; larger data are streamed; None shares half the machine's memory.
    `trial_memory_bytes`: with more resident memory than this a worker process ends, and the trials
    it trains.
    `checkpoint_every_s`: at least this many seconds from one checkpoint of a trial to the next.
    `lease_s`: how long the loop may be silent before others take over its trials. `engine`: see
    TrialRequest. `lanes`: how many trials each worker process trains at once. `data`: where the
    study's data lie now, if elsewhere. `back_end`: where the workers are,
    a name in tuner.workers.BACK_ENDS or the back end. `share`, `follows_total`: see Loop.
    `daemon_id`: of the daemon that searches, None in the foreground: see `leases.open_lease`."""

    limits: Limits
    workers: int | None = None
    tracking: bool = True
    log_models: str = "best"
    keep_models: int = BEST_KEPT
    data_memory_bytes: float | None = None
    trial_memory_bytes: float | None = None
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    lease_s: float = LEASE_S
    engine: Engine = "auto"
    lanes: int = 1
    data: str | None = None
    back_end: str | BackEnd = "local"
    share: Callable[[], int] | None = None
    follows_total: bool = False
    daemon_id: str | None = None

    def of_total(self, trials: int) -> "SearchOptions":
        """The same for so many trials."""
        return replace(self, limits=replace(self.limits, trials=trials))


def slots_wanted(store: Store, study: StudyRow, trials: int | None, more: int | None) -> int:
    """The study's total of slots: `trials`, or `more` than it has. Raises StudyError when neither
    is given."""
    most = most_trials(store, study)
    if trials is not None or more is not None:
        check_members(study, trials or slots.total_slots(store, study) + (more or 0))
    if more is not None:
        return slots.add_slots(store, study, more, most)
    if trials is None:
        raise StudyError("say how many trials: --trials 100 in all, or --more 20")
    slots.ensure_slots(store, study, min(trials, most))
    return min(trials, most)


def most_trials(store: Store, study: StudyRow) -> int:
    """How many trials a study can have: no more than its space has configurations, besides those
    that were queued on purpose. `sys.maxsize` where there is no end of them."""
    spec = study.spec
    if spec.sampler.name == "grid":
        return len(spec.first_trials())
    size = spec.space.grid_size() if avoids_repeats(spec.sampler, spec.space) else None
    if size is None or size > MOST_TRIALS:
        return sys.maxsize
    tried = TriedPoints(spec.space)
    tried.count(read_all(store, study))
    assert tried.left is not None
    return slots.count_spoken_for(store, study) + tried.left


def check_members(study: StudyRow, total: int) -> None:
    """Raises StudyError for a total of trials that is too small for one generation of the study's
    population, if it trains one."""
    whole = whole_population(study.spec)
    if whole is None:
        return
    population = PopulationOptions.of(study.spec.sampler.options).population
    if total < population:
        raise StudyError(
            f"study {study.name!r} trains {population} members, and {total} trials are fewer; with "
            f"--trials {whole} each of them trains {whole // population} generations; for smaller "
            f"ones create a study with --sampler-option population={max(2, total)}"
        )


def whole_population(spec: StudySpec) -> int | None:
    """How many trials a population has in which all members train all epochs; None where the study
    trains none."""
    if spec.generation_epochs is None or spec.epochs is None:
        return None
    generations = generation_count(spec.generation_epochs, spec.epochs)
    return PopulationOptions.of(spec.sampler.options).population * generations


def check_gain_limit(study: StudyRow, until_sure: object) -> None:
    """`until_sure`: what was asked for, None where nothing was. Raises UsageError for a study of
    which no score is the best."""
    if until_sure is not None and not study.spec.selects:
        raise UsageError(
            f"study {study.name!r} has several objectives, so none of its scores is the best: "
            "leave out --until-sure"
        )


def optimize(
    settings: Settings,
    store: Store,
    study: StudyRow,
    options: SearchOptions,
    watcher: Watcher | None = None,
    stage: Callable[[str], None] = lambda text: None,
    entry: EntryPoint | None = None,
    owns_process: bool = True,
    stopping: Stopping | None = None,
    announcer: Announcer | None = None,
    meter: Meter | None = None,
) -> tuple[Outcome, Delivered | None]:
    """Train until the study's slots are done or a limit is met. SIGINT and SIGTERM end the search;
    its running trials are put back. `stage` is told what it is doing, a line each. `entry`: None
    for what the study's network needs. `owns_process`: see Interrupts. `stopping`: by which another
    thread may end the search, made with the options' limits. `announcer`: is told of new bests and
    of the end. `meter`: see metered_workers.py. A daemon's search that has reached its target, or
    the end of its patience, stops the study: the next daemon would begin it again. Raises
    DatasetError when the data are no longer those the study was created with."""
    if options.follows_total:
        options = options.of_total(slots.total_slots(store, study))
    search = _Search(
        settings=settings,
        store=store,
        study=study,
        options=options,
        watcher=AnnouncedSearch(announcer or Announcer(), study, watcher or Silent()),
        stage=stage,
        entry=entry or (FUNCTIONS if study.spec.function_kind.trains else KERAS),
        stopping=stopping or Stopping(options.limits),
        owns_process=owns_process,
        meter=meter,
    )
    with _listed(study, search.stopping), logging_about(study=study.name):
        outcome, delivered = search.run()
    # An exhausted space may leave slots that no trial can have.
    has_enough = outcome.reason in _ENOUGH or (
        outcome.reason is StopReason.EXHAUSTED and outcome.status.done < outcome.status.total
    )
    if options.daemon_id is not None and has_enough:
        set_state(store, study, StudyState.STOPPED)
    return outcome, delivered


# Why a study needs no further trial, although it has slots left.
_ENOUGH = (StopReason.TARGET, StopReason.PATIENCE, StopReason.SURE)
# The searches that run in this process, by their study's uuid.
_running: dict[str, list[Stopping]] = {}
_running_lock = threading.Lock()
# Data functions are users' code, which may use what the process has once: one thread at a time.
_reading = threading.Lock()


@contextmanager
def _listed(study: StudyKey, stopping: Stopping) -> Iterator[None]:
    with _running_lock:
        _running.setdefault(study.uuid, []).append(stopping)
    try:
        yield
    finally:
        with _running_lock:
            _running[study.uuid].remove(stopping)


def stop_searches(store: Store, study: StudyKey) -> list[Holder]:
    """Have the searches of the study that run now, here or elsewhere, put back their running trials
    and end, and return who was asked. Those of this process begin no further trial; others hear of
    it within half a second. Daemons leave the study alone until it is resumed; searches that begin
    later in the foreground go on with it."""
    with _running_lock:
        for stopping in _running.get(study.uuid, []):
            stopping.stop(StopReason.STOPPED)
    return set_state(store, study, StudyState.STOPPED)


@dataclass(frozen=True)
class _Search:
    """What the parts of one search need."""

    settings: Settings
    store: Store
    study: StudyRow
    options: SearchOptions
    watcher: AnnouncedSearch
    stage: Callable[[str], None]
    entry: EntryPoint
    stopping: Stopping
    owns_process: bool
    meter: Meter | None

    def run(self) -> tuple[Outcome, Delivered | None]:
        """How the loop ended, and what of its trials has reached MLflow."""
        self.store.retry_policy.set(_DATABASE_S, is_hurried=lambda: self.stopping.asked)
        interrupts = Interrupts(self.stopping, self.owns_process)
        with interrupts.caught(), scratch_folder(self.settings) as folder:
            quiet_tensorflow()
            outcome = self._outcome_if_done()
            if outcome is not None:
                with interrupts.gently(), self._tracker(None) as tracker:
                    return outcome, self._deliver(tracker)
            data = self._data_folder(folder)
            reading = "" if data is None else " and reading the data"
            self.stage(f"starting the workers{reading}")
            with self._workers(data) as workers:
                self._check_store()
                if data is not None:
                    self._prepare_data(data)
                workers.start()
                with interrupts.gently(), self._tracker(data) as tracker:
                    return self._train(workers, tracker), self._deliver(tracker)

    def _outcome_if_done(self) -> Outcome | None:
        """The outcome of a search whose slots are all done; None where there is something to do.
        What dead loops left is put right all the same. No worker is started, and neither the data
        nor the trials are read."""
        total = self.options.limits.trials
        # Which of the paused trials goes on, only a loop can tell.
        has_paused = slots.has_state(self.store, self.study, "paused")
        if has_paused or not all_done(self.store, self.study, total):
            return None
        repair(self.store, self.study)
        status = RunStatus(total)
        refresh_status(self.store, self.study, self.study.spec, status, self.stopping)
        return Outcome(self.stopping.reason, status, put_back=0)

    def _check_store(self) -> None:
        """Before trials are trained whose networks cannot be kept. Raises ArtifactsUnavailable."""
        if self.settings.artifacts_url is not None:
            check_store(open_artifacts(self.settings))

    def _data_folder(self, folder: Path) -> Path | None:
        """Where the workers find the prepared data; None for a study without data. Raises
        StudyError where it is told where such data lie."""
        if self.study.spec.data is not None:
            return folder / "data"
        if self.options.data is not None:
            name = self.study.name
            raise StudyError(f"--data: study {name!r} has no data, its function reads its own")
        return None

    def _prepare_data(self, folder: Path) -> None:
        spec = self.study.spec
        with _reading:
            dataset = trained_on(self.settings, spec, self.options.data)
        network = spec.space.network
        if network not in NETWORKS and not spec.function_kind.trains:  # a user's own
            self.stage(f"{network} is given {describe_inputs(dataset)}")
        save_dataset(dataset, folder)

    @contextmanager
    def _workers(self, data: Path | None) -> Iterator[Workers]:
        """Workers whose fork server is warming up. They end with the context."""
        if not is_identity(self.study.uuid):  # it names the study's folder
            name = self.study.name
            raise StudyError(f"study {name!r} is damaged: its id in the database is none")
        log = search_log(self.settings.checkpoints, self.study.uuid)
        kind = back_end(self.options.back_end)
        kind.warm(self.entry, log)
        workers = kind.open_workers(
            self.entry,
            self._setup(data),
            processes=self.options.workers,
            data_bytes=self.options.data_memory_bytes,
            log=log,
            tell=self.stage,
            share=self.options.share,
        )
        with log_to_file(log):
            logger.info(
                "process %d searches study %r on %d workers, by tuner %s",
                os.getpid(),
                self.study.name,
                workers.count,
                tuner_version(),
            )
            try:
                yield workers
            finally:
                workers.close()

    def _setup(self, data: Path | None) -> WorkerSetup:
        return WorkerSetup(
            data=data,
            code=user_network(self.settings, self.study.spec),
            function_kind=self.study.spec.function_kind,
            metrics=user_metrics(self.settings, self.study.spec),
            artifacts=open_artifacts(self.settings),
            memory_bytes=self.options.trial_memory_bytes,
            lanes=self._lanes(),
            study=StudyOrigin(self.study.name, self.study.uuid),
            log_format=log_format(),
        )

    def _lanes(self) -> int:
        if self.options.lanes == 1 or not self.study.spec.function_kind.trains:
            return self.options.lanes
        network = self.study.spec.space.network
        self.stage(f"--lanes has no effect: {network} trains by itself, one trial a worker process")
        return 1

    def _train(self, workers: Workers, tracker: LateTracker | None) -> Outcome:
        watcher = self.watcher if tracker is None else _ToldOfReport(self.watcher, tracker.begin)
        with self.store.asking_optuna(), self._deletions() as later:
            outcome = self._loop(workers, later, watcher).run()
        self.stopping.over = True
        self.watcher.loop_ended(outcome)
        logger.info(
            "the search ends (%s): %d trials ended, %d put back",
            outcome.reason or "all trials are done",
            outcome.status.done_here,
            outcome.put_back,
        )
        if outcome.reason is StopReason.DELETED:
            raise LeaseLost
        return outcome

    @contextmanager
    def _deletions(self) -> Iterator[Callable[[Deletion], None]]:
        """How files of trials that have ended are deleted."""
        if self.settings.artifacts_url is None:
            yield at_once
            return
        later = LaterDeletions()
        try:
            yield later
        finally:
            later.close()

    def _loop(self, workers: Workers, later: Callable[[Deletion], None], watcher: Watcher) -> Loop:
        lease = leases.open_lease(
            self.store, self.study, self.options.lease_s, daemon_id=self.options.daemon_id
        )
        if not has_definition(self.store, self.study):  # it can be corrected until a lease holds
            leases.renew_lease(self.store, lease, 0.0)
            name = self.study.name
            raise StudyError(f"the code of study {name!r} was corrected just now: run this again")
        artifacts = open_artifacts(self.settings)
        if (owner := database_uuid(self.store)) and is_settled(self.store):
            mark_owner(artifacts, self.study.uuid, owner)
        return Loop(
            writer=open_writer(self.store, self.study, lease),
            workers=metered(workers, self.meter),
            stopping=self.stopping,
            files=TrialFiles(artifacts, self.study.uuid, self.options.checkpoint_every_s, later),
            networks=self._networks(later),
            program_key=_no_program if self.study.spec.function_kind.trains else program_key,
            engine=self.options.engine,
            watcher=watcher,
            stage=self.stage,
            share=self.options.share,
            follows_total=self.options.follows_total,
        )

    def _networks(self, later: Callable[[Deletion], None]) -> KeptNetworks:
        spec = self.study.spec
        return KeptNetworks(
            store=self.store,
            study=self.study,
            goal=spec.goal(),
            most=EVERY if self.options.log_models == "all" else self.options.keep_models,
            # A study that selects nothing keeps all networks or none.
            selects=spec.selects,
            # Those of a database that may be a copy belong to the original.
            artifacts=open_artifacts(self.settings) if is_settled(self.store) else None,
            later=later,
        )

    @contextmanager
    def _tracker(self, data: Path | None) -> Iterator[LateTracker | None]:
        """The process that tells MLflow, None without tracking. It is killed at the end."""
        if not self.options.tracking:
            yield None
            return

        def start() -> TrackerProcess:
            return start_tracker(self.settings, self.study, self.options.log_models, data)

        tracker = LateTracker(start, _TRACKER_AFTER_S)
        try:
            yield tracker
        finally:
            tracker.kill()

    def _deliver(self, tracker: LateTracker | None) -> Delivered | None:
        if tracker is None:
            return None
        self.stage("sending what is left to MLflow")
        return tracker.finish(_DELIVERY_S, hurry=lambda: self.stopping.asked)


class _ToldOfReport:
    """A watcher that calls `begin` once a trial has reported, besides what another one does."""

    def __init__(self, watcher: Watcher, begin: Callable[[], None]) -> None:
        self._watcher, self._begin = watcher, begin
        self._has_begun = False

    def changed(self, status: RunStatus) -> None:
        if not self._has_begun and any(worker.epoch for worker in status.workers):
            self._has_begun = True
            self._begin()
        self._watcher.changed(status)

    def trial_ended(
        self, status: RunStatus, trial: int, end: TrialEnd, value: float | None, is_best: bool
    ) -> None:
        self._watcher.trial_ended(status, trial, end, value, is_best)


def _no_program(request: TrialRequest) -> str:
    """No program is shared by trials that a user's function trains."""
    return ""


def open_writer(store: Store, study: StudyRow, lease: Lease) -> TrialWriter:
    """A loop's writer of trials, with the study's sampler and pruner."""
    spec = study.spec
    name_objectives(store, only=study)
    sampler, pruner = SAMPLERS[spec.sampler.name], PRUNERS[spec.pruner.name]
    # What has been tried is not seen in outlines.
    is_outlined = sampler.bounded and not avoids_repeats(spec.sampler, spec.space)
    if is_outlined and not spec.further_objectives:
        store.optuna.outlining = Outlining(
            whole=functools.partial(_read_whole, spec.direction),
            with_reports=pruner.compares_reports,
        )
    optuna_study = optuna.load_study(
        study_name=study.name,
        storage=OrderedCache(store.optuna, shows_paused=pruner.pauses),
        sampler=make_sampler(spec.sampler, spec.space, spec.seed, lease.number, spec.prior),
        pruner=make_pruner(spec.pruner, spec.max_step, spec.direction),
    )
    return TrialWriter(store, optuna_study, spec, lease)


def _read_whole(direction: Direction, trials: list[FrozenTrial]) -> list[int] | None:
    seen = InView(StudyDirection[direction.upper()]).choose(trials)
    return None if seen is None else [trial._trial_id for trial in seen]
