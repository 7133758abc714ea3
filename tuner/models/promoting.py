"""`tuner promote`: the final network of a trial becomes a version of a registered model in MLflow.

In this order: everything that can be refused is checked; the network is trained on the training and
validation rows; the test split is read, once; the network is compared with the champion on the same
test rows; it is registered; the alias is set.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tuner.data import Dataset
from tuner.errors import ArtifactsUnavailable, NotPromoted, StudyError, TrackingError
from tuner.manage.carried_code import needed_by_study
from tuner.manage.databases import check_settled
from tuner.manage.own_functions import check_trained_by_tuner
from tuner.manage.trust import agree_to_code, code_of, require_trusted
from tuner.models.champions import Judge
from tuner.models.final_networks import FinalNetwork, FinalNetworks
from tuner.models.registering import Promotion, Registration, Stage
from tuner.runner import trained_on
from tuner.runner.final_training import finished_trial, watches_validation
from tuner.runner.requests import lineage_of
from tuner.runner.study_files import PROMOTION_LOCK
from tuner.settings import Settings
from tuner.storage import Store
from tuner.storage.lineages import read_ancestors
from tuner.storage.split_readings import describe_readings, record_reading
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow
from tuner.system.file_locks import exclusive_lock
from tuner.system.names import command, in_command
from tuner.tracking.client import open_client, tracking_errors
from tuner.tracking.model_registry import RegisteredVersion, check_model_name, read_champion


def _silent(_text: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class PromotionOptions:
    """`trial`: a number, None for the best. `name`: of the registered model, None for the study's.
    `replace`: whether a champion goes that this network does not beat. `data`: where the study's
    data lie now, if elsewhere. `trust`: SHA-256 of the user's own files that may run here."""

    trial: int | None = None
    name: str | None = None
    replace: bool = False
    data: str | None = None
    trust: Sequence[str] = ()


def promote(
    settings: Settings,
    store: Store,
    study: StudyRow,
    options: PromotionOptions,
    stage: Stage = _silent,
) -> Promotion:
    """Train, evaluate and register a trial's final network. `stage` is told what is being done.

    Raises NotPromoted where the champion stays; StudyError for a trial that cannot be promoted;
    DatasetError where the data are not there; CodeError for code that may not run here;
    TrackingError where MLflow fails: the same command goes on then.
    """
    name = options.name or study.name
    check_model_name(name, is_given=options.name is not None)
    check_trained_by_tuner(study.spec, "promote")
    trial = finished_trial(store, study, options.trial)
    _check_trainable(study, trial)
    check_settled(store, "promote")
    client = open_client(settings.tracking_uri)
    with tracking_errors():
        champion = read_champion(client, name)
    for_champion = _agree(settings, study, options.trust, champion)
    with _one_at_a_time(settings, study, stage):
        stage("reading the data")
        dataset = trained_on(settings, study.spec, options.data)
        judge = Judge(settings, study, dataset, for_champion)
        lineage = lineage_of(study.spec, trial, read_ancestors(store, study, trial.number))
        networks = FinalNetworks(settings, study, trial, dataset, lineage)
        with _next_step(study, trial, options, networks):
            if champion is not None and not options.replace:
                # A promotion that was stopped after its last step goes on, to be told so.
                new = trial.number if networks.kept() is None else None
                judge.check_comparable(champion, new)
            network = _final_network(store, study, trial, networks, dataset, stage)
            if network.facts.readings is not None:
                stage(network.facts.readings)
            work = Registration(settings, store, study, trial, client, name, judge, network)
            promotion = work.run(options.replace, stage)
        networks.forget()
    return promotion


def _check_trainable(study: StudyRow, trial: TrialRow) -> None:
    problem = watches_validation(trial.params)
    if problem is not None:
        raise StudyError(
            f"trial {trial.number} of study {study.name!r} cannot be promoted: {problem}, which a "
            "promotion trains on; name another trial: --trial N"
        )


def _agree(
    settings: Settings,
    study: StudyRow,
    trust: Sequence[str],
    champion: RegisteredVersion | None,
) -> Sequence[str]:
    """Trust the files of the study among these. Returns the other hashes, of the champion's files.
    Raises CodeError for hashes of nothing, UntrustedCode for code of the study that is left."""
    own = {code.sha256 for code in code_of(study.spec)}
    of_study = [each for each in trust if champion is None or each.lower() in own]
    agree_to_code(study.spec, settings, of_study)
    with needed_by_study(study.name):
        require_trusted(study.spec, settings)
    return [each for each in trust if each.lower() not in own]


@contextlib.contextmanager
def _one_at_a_time(settings: Settings, study: StudyRow, stage: Stage) -> Iterator[None]:
    """One promotion of a study at a time on this machine: they share what is kept."""
    folder = settings.checkpoints / study.uuid
    waiting = "waiting for another promotion of this study"
    with contextlib.ExitStack() as locked:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = exclusive_lock(folder / PROMOTION_LOCK, lambda: stage(waiting))
            locked.enter_context(lock)
        except OSError as error:
            raise StudyError(f"{folder}: cannot be written: {error.strerror or error}") from error
        yield


def _final_network(
    store: Store,
    study: StudyRow,
    trial: TrialRow,
    networks: FinalNetworks,
    dataset: Dataset,
    stage: Stage,
) -> FinalNetwork:
    """Kept by a promotion that was stopped, or trained now."""
    network = networks.kept()
    if network is not None:
        stage(f"going on with the network that an earlier promotion of trial {trial.number} left")
        return network
    rows = len(dataset.train) + len(dataset.validation)
    epochs = networks.epochs
    stage(
        f"training trial {trial.number} on train + validation ({rows:,} rows), "
        f"{epochs} epoch{'s' * (epochs != 1)}"
    )
    return networks.train(
        lambda: describe_readings(record_reading(store, study, "promote", trial.number))
    )


@contextlib.contextmanager
def _next_step(
    study: StudyRow, trial: TrialRow, options: PromotionOptions, networks: FinalNetworks
) -> Iterator[None]:
    """Adds to the errors of a promotion where the network is, and the command that goes on."""
    words: list[object] = ["promote", in_command(study.name), "--trial", trial.number]
    words += [] if options.name is None else ["--name", options.name]
    try:
        yield
    except NotPromoted as error:
        again = command(*words, "--replace")
        raise NotPromoted(
            f"{error}; the champion stays; {_place(networks)}to replace it all the same: {again}"
        ) from error
    except TrackingError as error:
        again = command(*words, *["--replace"] * options.replace)
        raise TrackingError(f"{error}; {_place(networks)}to go on: {again}") from error


def _place(networks: FinalNetworks) -> str:
    try:
        is_kept = networks.kept() is not None
    except ArtifactsUnavailable:
        is_kept = False
    return f"the trained network is kept in {networks.place}; " if is_kept else ""
