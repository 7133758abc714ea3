"""How a network and a champion stand to each other on the same test rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data import Dataset
from tuner.data.dataset import TargetPart
from tuner.data.preparing import given_targets, head_of_target
from tuner.errors import ArtifactError, NotPromoted, TrackingError
from tuner.manage.stored_functions import user_metrics
from tuner.models.evaluations import Estimate, Evaluation, difference, evaluate_outputs
from tuner.models.final_networks import outputs_for_test
from tuner.models.model import Model, load_file
from tuner.models.model_cards import gap_in_words
from tuner.models.model_opening import bring_network
from tuner.models.own_figures import OwnFunction, own_difference, own_figure
from tuner.models.own_layers import require_trusted_layers
from tuner.preparation.keras_file import read_description
from tuner.preparation.predictions import count_rows
from tuner.settings import Settings
from tuner.storage.studies import StudyRow
from tuner.study import weighted_metrics
from tuner.study.messages import rank
from tuner.study.metrics import name_of
from tuner.study.own_metrics import OwnMetric
from tuner.study.weighted_metrics import ScoredRows, WeightedRows
from tuner.system.temporary_folders import OwnFolder
from tuner.tracking.model_registry import RegisteredVersion

_Array = npt.NDArray[Any]

LOSS = "loss"


@dataclass(frozen=True)
class Verdict:
    """How a network stands to the champion by the study's metric. `words`: as a sentence's part."""

    beats: bool
    words: str


class Judge:
    """Figures on the study's test rows, and the comparison with a champion on them."""

    def __init__(
        self, settings: Settings, study: StudyRow, dataset: Dataset, trust: Sequence[str]
    ) -> None:
        self._settings, self._study, self._trust = settings, study, trust
        self.dataset = dataset
        self.metric = name_of(study.spec.metric)
        self._own: dict[str, OwnFunction] = {
            name: OwnMetric(code) for name, code in user_metrics(settings, study.spec).items()
        }
        if self.metric == LOSS and (dataset.heads or dataset.targets[0].values):
            self._own[LOSS] = partial(loss_as_trained, dataset)
        self._y = given_targets(dataset, dataset.test)
        self._outputs: dict[str, _Array] = {}

    def check_comparable(self, champion: RegisteredVersion, trial: int | None) -> None:
        """Raises NotPromoted for a champion of other data. `trial`: the study's trial that is to be
        trained, which must not be the champion already; None if none is."""
        with OwnFolder("tuner-network-") as folder:
            file = self._bring(champion, Path(folder))
            description = read_description(file, champion.uri)
        is_same_study = description.study_uuid == self._study.uuid
        if is_same_study and trial is not None and description.trial == trial:
            raise NotPromoted(
                f"{champion.uri} is trial {trial} of this study already; --replace trains and "
                "registers it again"
            )

    def _bring(self, champion: RegisteredVersion, folder: Path) -> Path:
        """The champion's file. Raises NotPromoted where it cannot be scored on these test rows,
        UntrustedCode for layers whose code may not run here."""
        refused = _refused(champion)
        try:
            file = bring_network(champion.uri, self._settings, folder).file
            description = read_description(file, champion.uri)
        except (ArtifactError, TrackingError) as error:
            raise NotPromoted(f"{refused}: {error}") from error
        fingerprint = description.fingerprint
        if fingerprint != self.dataset.fingerprint:
            raise NotPromoted(
                f"{refused}: it was trained on other data, columns or splits (fingerprint "
                f"{fingerprint[:12]}, here {self.dataset.fingerprint[:12]})"
            )
        require_trusted_layers(description.code, self._settings, champion.uri, self._trust)
        return file

    def evaluate(self, outputs: _Array) -> tuple[Evaluation, dict[str, Estimate]]:
        """All figures, and those by metric, the study's first. The user's own are among the
        latter."""
        task, labels = self.dataset.task, self.dataset.labels
        heads = tuple(map(head_of_target, self.dataset.heads))
        evaluation = evaluate_outputs(outputs, self._y, task, labels, heads=heads)
        tasks = self.dataset.head_tasks
        own = {n: own_figure(f, outputs, self._y, task, tasks) for n, f in self._own.items()}
        figures = evaluation.metrics | own
        return evaluation, {self.metric: figures[self.metric]} | figures

    def compare(self, outputs: _Array, champion: RegisteredVersion) -> Verdict:
        """Raises as `check_comparable`."""
        theirs = self._outputs_of(champion)
        task, heads = self.dataset.task, self.dataset.head_tasks
        function = self._own.get(self.metric)
        if function is None:
            gap = difference(outputs, theirs, self._y, task, self.metric, heads=heads)
        else:
            gap = own_difference(function, outputs, theirs, self._y, task, heads)
        beats = gap.value is not None and rank(gap.value, self._study.spec.direction) < 0
        return Verdict(beats, self._in_words(gap, beats, champion))

    def _outputs_of(self, champion: RegisteredVersion) -> _Array:
        if champion.uri not in self._outputs:
            with OwnFolder("tuner-network-") as folder:
                file = self._bring(champion, Path(folder))
                model = self._load(champion, file)
            self._outputs[champion.uri] = outputs_for_test(model, self.dataset)
        return self._outputs[champion.uri]

    def _load(self, champion: RegisteredVersion, file: Path) -> Model:
        try:
            return load_file(file, champion.uri, settings=self._settings, trust=self._trust)
        except ArtifactError as error:
            raise NotPromoted(f"{_refused(champion)}: {error}") from error

    def _in_words(self, gap: Estimate, beats: bool, champion: RegisteredVersion) -> str:
        rows = f"on the same {count_rows(self._y):,} test rows"
        if gap.value is None:
            return f"test {self.metric} has no value {rows} for this network or {champion.uri}"
        if gap.value == gap.low == gap.high == 0:
            return f"this network equals the champion {champion.uri} in test {self.metric} {rows}"
        stands = "beats" if beats else "does not beat"
        words = (
            f"this network {stands} the champion {champion.uri} {rows}: test {self.metric} "
            f"{gap_in_words(self.metric, gap)}"
        )
        contains_0 = gap.low is not None and gap.high is not None and gap.low <= 0 <= gap.high
        return f"{words}; the interval contains 0, so it may be chance" if contains_0 else words


def loss_as_trained(dataset: Dataset, y: Any, predictions: Any) -> float:
    """The loss of several heads or values, as training has it without regularisation: of scaled
    targets, and of heads the sum of theirs, each times its weight. In their own units the target
    with the largest numbers would decide alone."""
    if not dataset.heads:
        return _loss_of_head(dataset.targets[0], y, predictions)
    return sum(
        head.weight * _loss_of_head(head, y[head.name], predictions[head.name])
        for head in dataset.heads
    )


def _loss_of_head(head: TargetPart, y: _Array, predictions: _Array) -> float:
    if head.task == "regression":  # differences need no shift
        return float(np.square((predictions - y) * head.scaling.scale).mean())
    scored = ScoredRows(y, predictions, head.task)
    return float(weighted_metrics.loss(WeightedRows(scored, np.ones((1, len(y)))))[0])


def _refused(champion: RegisteredVersion) -> str:
    return f"the champion {champion.uri} cannot be compared on the test rows of this study"
