"""A study whose trials are written as a loop writes them, without training."""

from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import TrialState
from trial_writes import begin, tell

from tuner.search_space import parse_space
from tuner.settings import Settings
from tuner.storage import Store, attempt_rows, leases, slots
from tuner.storage.attempt_rows import AttemptEnd
from tuner.storage.leases import Lease
from tuner.storage.slots import TrialSlot
from tuner.storage.studies import StudyRow
from tuner.study.artifacts import measure
from tuner.study.messages import Ended, Report
from tuner.study.spec import Choice, DataSpec, StudySpec

SPACE = """
network: mlp
parameters:
  depth: 2
  width: {type: int, low: 8, high: 64, repeat: depth}
  learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}
  optimizer: {type: categorical, choices: [adam, sgd]}
  momentum: {type: float, low: 0.0, high: 0.9, when: {optimizer: sgd}}
  epochs: 15
"""


def make_spec() -> StudySpec:
    return StudySpec(
        space=parse_space(SPACE, "space.yaml"),
        data=DataSpec(source="digits", task="classes"),
        fingerprint="0123456789abcdef" * 4,
        train_rows=20_000,
        task="classes",
        sampler=Choice(name="random"),
        metric="val_accuracy",
        direction="maximize",
        seed=3,
    )


@dataclass
class Running:
    slot: TrialSlot
    trial: optuna.Trial

    @property
    def number(self) -> int:
        return self.trial.number


class Search:
    """Writes what a loop would write."""

    def __init__(self, store: Store, study: StudyRow) -> None:
        self.store, self.study = store, study
        self._optuna = optuna.load_study(
            study_name=study.name,
            storage=store.optuna,
            sampler=optuna.samplers.RandomSampler(seed=1),
        )
        self.lease: Lease = leases.open_lease(store, study)

    def start(self) -> Running:
        """Begin a new trial, or the next attempt of one that was put back."""
        if not slots.slot_counts(self.store, self.study).get("open"):
            slots.add_slots(self.store, self.study, 1)
        slot = slots.claim(self.store, self.lease, 10_000)
        assert slot is not None
        slot = begin(self.store, self.lease, slot)
        assert slot.trial_id is not None
        self._optuna.get_trials(deepcopy=False)
        trial = optuna.Trial(self._optuna, slot.trial_id)
        self.study.spec.space.sample(trial)
        return Running(slot, trial)

    def train(self, running: Running, epochs: int, first: int = 1) -> None:
        """Whole epochs from `first` on; the first of all in two reports."""
        if first == 1:
            self.report(running, step=1, epoch=1, whole=False)
        for epoch in range(first, first + epochs):
            self.report(running, step=2 * epoch, epoch=epoch, whole=True)

    def report(self, running: Running, step: int, epoch: int, whole: bool) -> None:
        value = 1.0 - 1.0 / (step + running.number + 1)
        metrics = {
            "loss": 1 - value,
            "accuracy": value,
            "val_loss": 1.1 - value,
            "val_accuracy": value,
        }
        report = Report(step, epoch, whole, metrics)
        attempt_rows.record_report(self.store, self.lease, running.slot, report)

    def complete(
        self, running: Running, score: float, model: Path | None = None, name: str = ""
    ) -> None:
        """`name`: of the model in the folder of networks, if not the file's alone."""
        ended = Ended("complete", score, 3, 4, 1234, {"train": 0.5}, "graph")
        saved = measure(name or model.name, model) if model else None
        end = AttemptEnd.of("complete", ended, model=saved)
        self._tell(running, end, TrialState.COMPLETE, score)

    def prune(self, running: Running, score: float) -> None:
        slot = running.slot
        assert slot.trial_id is not None
        rows = attempt_rows.read_reports(self.store, self.study, slot.trial_id, slot.attempt)
        epochs = sum(row.whole for row in rows)
        last = Report(2 * epochs, epochs, True, {}) if epochs else None
        running.trial.report(score, 1)
        end = AttemptEnd.unfinished("pruned", score, last)
        self._tell(running, end, TrialState.PRUNED, score)

    def fail(self, running: Running, detail: str) -> None:
        self._tell(running, AttemptEnd.of("user_error", detail=detail), TrialState.FAIL)

    def put_back(self, running: Running) -> None:
        self._tell(running, AttemptEnd.of("interrupted"), TrialState.WAITING)

    def _tell(
        self, running: Running, end: AttemptEnd, state: TrialState, value: float | None = None
    ) -> None:
        tell(self.store, self.lease, running.slot, end, state, value)


def make_settings(search: Search, tracking_uri: str) -> Settings:
    nowhere = Path("nowhere")
    url = search.store.url.render_as_string(hide_password=False)
    networks = Path(str(search.store.url.database)).parent
    return Settings(url, tracking_uri, nowhere, networks, nowhere)
