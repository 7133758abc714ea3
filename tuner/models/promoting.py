"""`tuner promote`: the final network of a trial becomes a version of a registered model in MLflow.

In this order: everything that can be refused is checked; the network is trained on the training and
validation rows; the test split is read, once; the network is compared with the champion on the same
test rows; it is registered; the alias is set.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tuner.data import Dataset
from tuner.errors import (
    NotPromoted,
    StudyError,
    TrackingError,
)
from tuner.manage.databases import check_settled
from tuner.manage.own_code import UntrustedCode
from tuner.manage.trust import agree_to_code, code_of, require_trusted
from tuner.models.champions import Judge, Verdict
from tuner.models.evaluations import Estimate, Evaluation
from tuner.models.final_networks import FinalNetwork, FinalNetworks
from tuner.models.model_cards import CardContent, figure_in_words, model_card, shortened_card
from tuner.models.opening import bring_network
from tuner.runner import trained_on
from tuner.runner.final_training import epochs_to_train, finished_trial, watches_validation
from tuner.settings import Settings
from tuner.storage import Store
from tuner.storage.studies import StudyRow
from tuner.storage.test_readings import describe_readings, record_reading
from tuner.storage.trials import TrialRow
from tuner.study.artifacts import measure
from tuner.study.metrics import name_of, on_split
from tuner.system.names import command, in_command
from tuner.system.temporary_folders import OwnFolder
from tuner.tracking.client import Client, open_client, tracking_errors
from tuner.tracking.logged_models import log_model
from tuner.tracking.model_folders import read_network
from tuner.tracking.registry import (
    CARD_FILE,
    CHAMPION,
    LONGEST_DESCRIPTION,
    NETWORK_TAG,
    RegisteredVersion,
    RunContent,
    check_model_name,
    describe_run,
    open_run,
    read_champion,
    register_version,
    set_champion,
)

Tell = Callable[[str], None]


def _silent(_text: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True, eq=False)
class Promotion:
    """A promoted network.

    Attributes:
        name: of the registered model.
        version: of the registered model, as MLflow counts them.
        trial: the trial's number.
        metric: the study's metric on the test split, such as test_accuracy.
        figures: all metrics on the test rows by name, such as accuracy, with 95 % intervals.
        evaluation: all figures on the test rows.
        replaced: the version that was the champion before, if there was one.
        card: the model card, Markdown.
        run_id: of the MLflow run that has metrics and card.
        readings: what is said of earlier readings of the test split, None if it was unseen.
        comparison: how the network stands to the champion before it, None without one.
    """

    name: str
    version: str
    trial: int
    metric: str
    figures: Mapping[str, Estimate]
    evaluation: Evaluation
    replaced: str | None
    card: str
    run_id: str
    readings: str | None = None
    comparison: str | None = None

    @property
    def uri(self) -> str:
        """What names the champion, for `tuner predict`, `tuner.load_model` and MLflow."""
        return f"models:/{self.name}@{CHAMPION}"

    @property
    def figure(self) -> Estimate:
        """The study's metric on the test rows."""
        return self.figures[name_of(self.metric)]

    def to_json(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "model": self.name,
            "version": self.version,
            "uri": self.uri,
            "trial": self.trial,
            "metric": self.metric,
            **asdict(self.figure),
            "replaced": self.replaced,
            "metrics": {name: asdict(each) for name, each in self.figures.items()},
            "evaluation": self.evaluation.to_json(),
            "run_id": self.run_id,
            "readings": self.readings,
            "comparison": self.comparison,
        }

    def __repr__(self) -> str:
        words = figure_in_words(name_of(self.metric), self.figure)
        return f"Promotion({self.uri!r}, version={self.version!r}, {self.metric}={words!r})"


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
    stage: Tell = _silent,
) -> Promotion:
    """Train, evaluate and register a trial's final network. `stage` is told what is being done.

    Raises NotPromoted where the champion stays; StudyError for a trial that cannot be promoted;
    DatasetError where the data are not there; CodeError for code that may not run here;
    TrackingError where MLflow fails: the same command goes on then.
    """
    name = options.name or study.name
    check_model_name(name, is_given=options.name is not None)
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
        networks = FinalNetworks(settings, study, trial, dataset)
        with _next_step(study, trial, options, networks):
            if champion is not None and not options.replace:
                judge.check_comparable(champion)
            network = _final_network(store, study, trial, networks, dataset, stage)
            work = _Registration(settings, store, study, trial, client, name, judge, network)
            promotion = work.run(options, stage)
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
    try:
        require_trusted(study.spec, settings)
    except UntrustedCode as error:
        error.source = in_command(study.name)
        raise
    return [each for each in trust if each.lower() not in own]


@contextlib.contextmanager
def _one_at_a_time(settings: Settings, study: StudyRow, stage: Tell) -> Iterator[None]:
    """One promotion of a study at a time on this machine: they share what is kept."""
    folder = settings.checkpoints / study.uuid
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / "promotion.lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StudyError(f"{folder}: cannot be written: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stage("waiting for another promotion of this study")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a disk without locks
            pass
        yield
    finally:
        os.close(file)


def _final_network(
    store: Store,
    study: StudyRow,
    trial: TrialRow,
    networks: FinalNetworks,
    dataset: Dataset,
    stage: Tell,
) -> FinalNetwork:
    """Kept by a promotion that was stopped, or trained now."""
    kept = networks.kept()
    if kept is not None:
        stage(f"going on with the network that an earlier promotion of trial {trial.number} left")
        return _told(kept, stage)
    rows = len(dataset.train) + len(dataset.validation)
    epochs = epochs_to_train(trial)
    stage(
        f"training trial {trial.number} on train + validation ({rows:,} rows), "
        f"{epochs} epoch{'s' * (epochs != 1)}"
    )
    network = networks.train(
        lambda: describe_readings(record_reading(store, study, "promote", trial.number))
    )
    return _told(network, stage)


def _told(network: FinalNetwork, stage: Tell) -> FinalNetwork:
    if network.facts.readings is not None:
        stage(network.facts.readings)
    return network


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
    is_kept = networks.kept() is not None
    return f"the trained network is kept in {networks.place}; " if is_kept else ""


@dataclass(frozen=True, eq=False)
class _Registration:
    """Puts a network into MLflow. Each step finds what an interrupted one has left."""

    settings: Settings
    store: Store
    study: StudyRow
    trial: TrialRow
    client: Client
    name: str
    judge: Judge
    network: FinalNetwork

    def run(self, options: PromotionOptions, stage: Tell) -> Promotion:
        """Raises NotPromoted, TrackingError and what `Judge.compare` raises."""
        stage(f"evaluating it on the test split ({len(self.judge.dataset.test):,} rows)")
        evaluation, figures = self.judge.evaluate(self.network.outputs)
        champion = self._champion()
        comparison = self._settle(champion, options.replace)
        card = self._card(evaluation, figures, comparison)
        stage("registering it in MLflow")
        with tracking_errors():
            run_id, version = self._register(evaluation, figures, card)
        self._verify(version)
        latest = self._champion()
        if _number_of(latest) != _number_of(champion):
            # Another promotion has set the alias meanwhile.
            champion = latest
            comparison = self._settle(champion, options.replace)
        with tracking_errors():
            set_champion(self.client, version)
        return Promotion(
            name=self.name,
            version=version.version,
            trial=self.trial.number,
            metric=on_split(self.study.spec.metric, "test"),
            figures=figures,
            evaluation=evaluation,
            replaced=None if _number_of(champion) == version.version else _number_of(champion),
            card=card,
            run_id=run_id,
            readings=self.network.facts.readings,
            comparison=comparison,
        )

    def _champion(self) -> RegisteredVersion | None:
        with tracking_errors():
            return read_champion(self.client, self.name)

    def _settle(self, champion: RegisteredVersion | None, replace: bool) -> str | None:
        """How the network stands to the champion, in words; None without one. Raises NotPromoted
        where the champion stays."""
        if champion is None or champion.tags.get(NETWORK_TAG) == self.network.sha256:
            return None
        try:
            verdict = self.judge.compare(self.network.outputs, champion)
        except (NotPromoted, UntrustedCode) as error:
            if not replace:
                raise
            verdict = Verdict(False, str(error))
        if not verdict.beats and not replace:
            raise NotPromoted(f"trial {self.trial.number} is not promoted: {verdict.words}")
        return verdict.words

    def _card(
        self, evaluation: Evaluation, figures: Mapping[str, Estimate], comparison: str | None
    ) -> str:
        return model_card(
            CardContent(
                name=self.name,
                study=self.study,
                trial=self.trial,
                dataset=self.judge.dataset,
                evaluation=evaluation,
                figures=figures,
                facts=self.network.facts,
                comparison=comparison,
            )
        )

    def _register(
        self, evaluation: Evaluation, figures: Mapping[str, Estimate], card: str
    ) -> tuple[str, RegisteredVersion]:
        """The run with all that describes the network, and its version of the registered model."""
        client, spec = self.client, self.study.spec
        sha256 = self.network.sha256
        run_id = open_run(client, self.store, self.study, self.trial, sha256)
        model_id = log_model(
            client, run_id, read_network(self.network.file), self.study, self.judge.dataset
        )
        values = {
            on_split(name, "test"): figure.value
            for name, figure in figures.items()
            if figure.value is not None
        }
        tags = {
            "study": self.study.name,
            "trial": str(self.trial.number),
            "fingerprint": spec.fingerprint,
            "trained_on": "train+validation",
            NETWORK_TAG: sha256,
        }
        metric = on_split(spec.metric, "test")
        if metric in values:
            tags[metric] = f"{values[metric]:.6g}"
        content = RunContent(values, tags, card, evaluation.to_json(), self.judge.dataset)
        describe_run(client, run_id, self.study, self.trial, content)
        whole = f"{CARD_FILE} among the artifacts of run {run_id}"
        description = shortened_card(card, LONGEST_DESCRIPTION, whole)
        return run_id, register_version(client, self.name, run_id, model_id, tags, description)

    def _verify(self, version: RegisteredVersion) -> None:
        """Raises TrackingError unless the version, as others will download it, is this network."""
        with OwnFolder("tuner-network-") as folder:
            file = bring_network(version.uri, self.settings, Path(folder)).file
            if measure(file.name, file).sha256 != self.network.sha256:
                raise TrackingError(f"{version.uri} is another file than the one that was sent")


def _number_of(version: RegisteredVersion | None) -> str | None:
    return None if version is None else version.version
