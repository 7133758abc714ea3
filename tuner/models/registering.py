"""Putting a final network into MLflow: its run, its version of a registered model, the alias."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tuner.errors import NotPromoted, TrackingError
from tuner.manage.carried_code import UntrustedCode
from tuner.models.champions import Judge, Verdict
from tuner.models.evaluations import Estimate, Evaluation
from tuner.models.final_networks import FinalNetwork
from tuner.models.model_cards import CardContent, figure_in_words, model_card, shortened_card
from tuner.models.model_opening import bring_network
from tuner.settings import Settings
from tuner.storage import Store
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow
from tuner.study.artifacts import measure
from tuner.study.metrics import name_of, on_split
from tuner.system.temporary_folders import OwnFolder
from tuner.tracking.client import Client, tracking_errors
from tuner.tracking.logged_models import log_model
from tuner.tracking.model_folders import read_network
from tuner.tracking.model_registry import (
    CARD_FILE,
    LONGEST_DESCRIPTION,
    NETWORK_TAG,
    RegisteredVersion,
    RunContent,
    champion_uri,
    describe_run,
    open_run,
    read_champion,
    register_version,
    set_champion,
)

# Told what is being done.
Stage = Callable[[str], None]


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
        return champion_uri(self.name)

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


@dataclass(frozen=True, eq=False)
class Registration:
    """Puts a network into MLflow. Each step finds what an interrupted one has left."""

    settings: Settings
    store: Store
    study: StudyRow
    trial: TrialRow
    client: Client
    name: str
    judge: Judge
    network: FinalNetwork

    def run(self, replace: bool, stage: Stage) -> Promotion:
        """Raises NotPromoted, TrackingError and what `Judge.compare` raises."""
        stage(f"evaluating it on the test split ({len(self.judge.dataset.test):,} rows)")
        evaluation, figures = self.judge.evaluate(self.network.outputs)
        champion = self._champion()
        comparison = self._settle(champion, replace)
        card = self._card(evaluation, figures, comparison)
        stage("registering it in MLflow")
        with tracking_errors():
            run_id, version = self._register(evaluation, figures, card)
        self._verify(version)
        latest = self._champion()
        if _number_of(latest) != _number_of(champion):
            # Another promotion has set the alias meanwhile.
            champion = latest
            comparison = self._settle(champion, replace)
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
