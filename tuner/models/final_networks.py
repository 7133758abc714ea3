"""A trial's final network: trained on the training and validation rows together.

It is kept beside the study's other networks until it is promoted, with its outputs for the test
rows. So a promotion that MLflow, a signal or a better champion has stopped can go on without
training again, and without reading the test split again.
"""

import hashlib
import io
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data import Dataset
from tuner.data.preparing import input_blocks
from tuner.errors import ArtifactError, ArtifactsUnavailable
from tuner.models.model import Model, load_file
from tuner.models.training_here import Training, train_here
from tuner.preparation.predictions import join_outputs
from tuner.runner.final_training import request_without_validation
from tuner.settings import Settings, tuner_version
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow
from tuner.study.artifacts import Artifact, Artifacts, open_artifacts, patiently
from tuner.study.lineage import Lineage
from tuner.system.temporary_folders import OwnFolder


@dataclass(frozen=True)
class TrainingFacts:
    """How a final network was trained. `readings`: what is said of earlier readings of the test
    split, None for none. `seconds`: of the training."""

    epochs: int
    seconds: float
    engine: str
    parameter_count: int
    readings: str | None


@dataclass(frozen=True, eq=False)
class FinalNetwork:
    """`outputs`: what the network gives for the test rows, (n, units). `is_kept`: an earlier
    promotion trained it, and was stopped."""

    file: Path
    sha256: str
    outputs: npt.NDArray[Any]
    facts: TrainingFacts
    is_kept: bool = False


class FinalNetworks:
    """The final network of one trial, trained or kept. `dataset`: as the study sees it. `lineage`:
    what the trial went on from."""

    def __init__(
        self,
        settings: Settings,
        study: StudyRow,
        trial: TrialRow,
        dataset: Dataset,
        lineage: Lineage | None = None,
    ) -> None:
        self._settings, self._study, self._trial = settings, study, trial
        self._dataset = dataset
        self._request = request_without_validation(study.spec, trial, lineage)
        self._store: Artifacts = open_artifacts(settings).below(f"{study.uuid}/promoted")
        self._network, self._record = f"trial-{trial.number}.keras", f"trial-{trial.number}.npz"

    @property
    def epochs(self) -> int:
        """How many it is trained for."""
        return self._request.ends_after

    @property
    def place(self) -> str:
        """Where it is kept, for messages."""
        return f"{self._store}/{self._network}"

    def kept(self) -> FinalNetwork | None:
        """The network that an earlier promotion of this trial left; None without one, or if it was
        trained in another way or by another version. Raises ArtifactsUnavailable where the store
        does not say: another training would read the test split again."""
        try:
            return patiently(self._read_kept)
        except ArtifactsUnavailable:
            raise
        except (ArtifactError, OSError, ValueError, LookupError, TypeError):
            return None

    def _read_kept(self) -> FinalNetwork | None:
        with np.load(self._store.get(Artifact(self._record)), allow_pickle=False) as record:
            facts = json.loads(str(record["facts"]))
            if facts.pop("identity") == self._identity():
                sha256 = facts.pop("sha256")
                file = self._store.get(Artifact(self._network, sha256=sha256))
                return FinalNetwork(
                    file, sha256, record["outputs"], TrainingFacts(**facts), is_kept=True
                )
        return None

    def train(self, before_test: Callable[[], str | None]) -> FinalNetwork:
        """Train it, score it on the test rows and keep it. `before_test` is called once, before the
        test split is read, and says what `TrainingFacts.readings` are.

        Raises StudyError where training fails or diverges.
        """
        readings: list[str | None] = []
        training = Training(
            self._study,
            self._trial,
            self._request,
            doing="trained on train + validation",
            before_last_epoch=lambda: readings.append(before_test()),
        )
        with OwnFolder("tuner-network-") as folder:
            file = Path(folder) / "network.keras"
            ended = train_here(self._settings, training, self._dataset.for_test(), file)
            outputs = outputs_for_test(load_file(file, self._network), self._dataset)
            artifact = patiently(lambda: self._store.put(self._network, file))
        facts = TrainingFacts(
            epochs=ended.epochs,
            seconds=sum(ended.seconds.values()),
            engine=ended.engine,
            parameter_count=ended.parameter_count,
            readings=readings[-1],
        )
        assert artifact.sha256 is not None
        self._keep(outputs, asdict(facts) | {"sha256": artifact.sha256})
        return FinalNetwork(self._store.get(artifact), artifact.sha256, outputs, facts)

    def _keep(self, outputs: npt.NDArray[Any], facts: dict[str, Any]) -> None:
        """Written last: the network is complete once this is there."""
        content = io.BytesIO()
        facts |= {"identity": self._identity()}
        np.savez(content, outputs=outputs, facts=np.asarray(json.dumps(facts)))
        patiently(lambda: self._store.put(self._record, content.getvalue()))

    def forget(self) -> None:
        """Remove what is kept: the network is in MLflow."""
        for name in (self._record, self._network):
            with suppress(OSError):  # costs disk space, and nothing else
                self._store.delete(name)

    def _identity(self) -> str:
        """Of what decides the network."""
        request = self._request
        content = {
            "version": tuner_version(),
            "fingerprint": self._dataset.fingerprint,
            "network": request.network,
            "params": request.params,
            "seed": request.seed,
            "metric": request.goal.metric,
            "code": {path: code.sha256 for path, code in self._study.spec.code.items()},
        }
        if request.last_epoch is not None:
            content |= {"earlier": request.earlier, "last_epoch": request.last_epoch}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def outputs_for_test(model: Model, dataset: Dataset) -> Any:
    """What a network that was saved with this preparation gives for the test rows, (n, units)."""
    blocks = input_blocks(dataset, dataset.test)
    return join_outputs([model.outputs_of_prepared(inputs) for inputs in blocks])
