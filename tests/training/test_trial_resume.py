"""A trial that goes on from a checkpoint ends bit for bit as the one that was never interrupted."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from tensorflow_helpers import make_dataset, make_request, on_disk, own_network, weights

from tuner.data import Dataset
from tuner.networks.custom import CustomNetwork
from tuner.study.artifacts import FolderArtifacts
from tuner.study.messages import Checkpoints, Ended, Report, Resumed, TrialRequest
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

OWN = CustomNetwork(
    "nets.py",
    "build",
    dedent("""
        import keras

        def build(params, input_shape, outputs):
            return keras.Sequential([
                keras.Input(input_shape),
                keras.layers.GaussianNoise(0.1),
                keras.layers.Dense(8, activation="tanh", dtype="bfloat16"),
                keras.layers.Dropout(0.4),
                keras.layers.Dense(outputs, activation="softmax", dtype="float32"),
            ])
    """),
)
EXERCISES = {
    "epochs": "test_each_optimizer_goes_on",
    "patience": "test_an_early_stop_comes_at_the_same_epoch_with_the_best_weights",
}
DROPPING = {"dropout": 0.3, "batch_norm": True, "depth": 2}
PARAMS: dict[str, dict[str, Any]] = {
    "sgd": {"batch_norm": True},
    "momentum": {"momentum": 0.9, "dropout": 0.3, "class_weight": "{a: 3}"},
    "adam": {"optimizer": "adam", "class_weight": "balanced", **DROPPING},
    "nadam": {
        "optimizer": "nadam", "schedule": "one_cycle", "cycle_rise": 0.3, "warmup_epochs": 0.5,
        "weight_decay": 0.1, "max_norm": 1.0, "label_smoothing": 0.1, **DROPPING,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Course:
    """All that a trial says, but its seconds, and its weights at the end as bytes."""

    intervals: list[Report]
    ended: Ended
    weights: list[bytes]


def course(trainer: Trainer, trial_request: TrialRequest, resumed: int | None = None) -> Course:
    """What it says, behind the Resumed that must come first if `resumed` is an epoch."""
    events = list(trainer.run(trial_request))
    if resumed is not None:
        assert events.pop(0) == Resumed(resumed)
    *intervals, ended = events
    assert isinstance(ended, Ended)
    return Course(
        [replace(i, seconds={}) for i in intervals if isinstance(i, Report)],
        replace(ended, seconds={}),
        [w.tobytes() for w in weights(trainer)],
    )


def interrupt(
    trainer: Trainer, trial_request: TrialRequest, epoch: int, folder: Path, attempt: int = 1
) -> Report:
    """Stop training after the given epoch's checkpoint, as late as in the epoch after it. That
    epoch's last interval. One that is asked for between the epochs is the same."""
    kept = Checkpoints(FolderArtifacts(folder), attempt, known_epochs=epoch, every_s=0.0)
    events = trainer.run(replace(trial_request, checkpoints=kept))
    last = next(e for e in events if isinstance(e, Report) and e.whole and e.epoch == epoch)
    trainer.checkpoint()
    asked_for = (folder / f"attempt-{attempt}.ckpt").read_bytes()
    next(events)
    assert (folder / f"attempt-{attempt}.ckpt").read_bytes() == asked_for
    events.close()  # type: ignore[attr-defined]
    return last


def second_attempt(
    trial_request: TrialRequest, folder: Path, known_epochs: int = 999
) -> TrialRequest:
    return replace(trial_request, checkpoints=Checkpoints(FolderArtifacts(folder), 2, known_epochs))


def compare(
    folder: Path,
    trial_request: TrialRequest,
    dataset: Dataset,
    epochs: tuple[int, ...],
    network: CustomNetwork | None = None,
    budget_bytes: float = float("inf"),
) -> Course:
    """Interrupt a trial after each of the epochs and go on: first in a new worker, then in the
    same, which has trained other things since. The course without interruption."""
    first, second = (Trainer(dataset, budget_bytes, network) for _ in range(2))
    whole = course(first, trial_request)
    for epoch in epochs:
        interrupt(first, trial_request, epoch, folder / str(epoch))
        rest = course(second, second_attempt(trial_request, folder / str(epoch)), resumed=epoch)
        assert rest.intervals == [i for i in whole.intervals if i.epoch > epoch]
        assert rest.ended == whole.ended
        assert rest.weights == whole.weights
    return whole


@pytest.mark.parametrize("optimizer", PARAMS)
def test_each_optimizer_goes_on(tmp_path: Path, optimizer: str) -> None:
    trial_request = make_request(
        seed=2**40 + 7, intervals=2, epochs=4, engine="keras", **PARAMS[optimizer]
    )
    whole = compare(tmp_path, trial_request, make_dataset(), (1, 2, 3))
    assert (whole.ended.end, whole.ended.engine) == ("complete", "keras")


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.usefixtures("xla")
def test_compiled_by_xla(tmp_path: Path, optimizer: str) -> None:
    trial_request = make_request(intervals=2, epochs=3, engine="keras", **PARAMS[optimizer])
    assert compare(tmp_path, trial_request, make_dataset(), (1, 2)).ended.engine == "keras, xla"


def test_it_goes_on_in_the_shared_graph(tmp_path: Path) -> None:
    trial_request = make_request(seed=2**40 + 7, intervals=2, epochs=3, **PARAMS["adam"])
    assert compare(tmp_path, trial_request, make_dataset(), (1, 2)).ended.engine == "graph"


@pytest.mark.usefixtures("xla")
def test_from_the_shared_graph_into_xla(tmp_path: Path) -> None:
    trial_request = make_request(intervals=2, epochs=3, **PARAMS["momentum"])
    found = compare(tmp_path, trial_request, make_dataset(), (1, 2))
    assert found.ended.engine == "tiered"


def test_random_layers_of_a_users_own_network(tmp_path: Path) -> None:
    trial_request = own_network(
        make_request(epochs=4, optimizer="adam", learning_rate=0.02, class_weight="balanced")
    )
    compare(tmp_path, trial_request, make_dataset(), (1, 3), OWN)


def test_streamed_regression(tmp_path: Path) -> None:
    mapped = on_disk(make_dataset("regression"), tmp_path / "data")
    trial_request = make_request(epochs=3, momentum=0.5, dropout=0.2, learning_rate=0.02)
    compare(tmp_path, trial_request, mapped, (2,), budget_bytes=0)


def test_an_early_stop_comes_at_the_same_epoch_with_the_best_weights(tmp_path: Path) -> None:
    trial_request = make_request(width=64, learning_rate=1.0, epochs=200, patience=3)
    best_epoch = course(Trainer(make_dataset()), trial_request).ended.best_epoch
    assert best_epoch is not None
    whole = compare(tmp_path, trial_request, make_dataset(), (1, best_epoch, best_epoch + 2))
    assert (whole.ended.end, whole.ended.epochs) == ("early_stopped", best_epoch + 3)


def test_divergence_after_a_checkpoint(tmp_path: Path) -> None:
    trial_request = make_request(depth=0, learning_rate=1.5, epochs=100, patience=100)
    whole = compare(tmp_path, trial_request, make_dataset("regression"), (2, 4))
    assert (whole.ended.end, whole.ended.best_epoch) == ("diverged", 1)


def test_targets(tmp_path: Path) -> None:
    trainer, free = Trainer(make_dataset()), make_request(epochs=6)
    scores = [i.metrics["val_loss"] for i in course(trainer, free).intervals]
    assert scores == sorted(scores, reverse=True)
    trial_request = replace(free, goal=replace(free.goal, target=scores[4]))
    ended = compare(tmp_path, trial_request, trainer.dataset, (3,)).ended
    assert (ended.end, ended.epochs) == ("target", 5)
    # One that the first attempt had not been given, and has reached.
    easier = replace(free, goal=replace(free.goal, target=scores[1]))
    found = course(trainer, second_attempt(easier, tmp_path / "3"), resumed=3)
    assert found.intervals == []
    assert (found.ended.end, found.ended.epochs, found.ended.score) == ("target", 3, scores[2])


def test_a_third_attempt_goes_on_from_the_second_and_seconds_add_up(tmp_path: Path) -> None:
    trainer, trial_request = Trainer(make_dataset()), make_request(epochs=5, **PARAMS["momentum"])
    whole = course(trainer, trial_request)
    interrupt(trainer, trial_request, 1, tmp_path)
    before = interrupt(trainer, trial_request, 3, tmp_path, attempt=2)
    assert [path.name for path in tmp_path.iterdir()] == ["attempt-2.ckpt"]
    third = replace(trial_request, checkpoints=Checkpoints(FolderArtifacts(tmp_path), 3, 3))
    resumed, interval, *_ = trainer.run(third)
    assert resumed == Resumed(3)
    assert isinstance(interval, Report)
    assert all(interval.seconds[kind] >= spent for kind, spent in before.seconds.items())
    assert interval.seconds["train"] > before.seconds["train"] > 0
    rest = course(trainer, third, resumed=3)
    assert (rest.ended, rest.weights) == (whole.ended, whole.weights)


def test_a_checkpoint_is_written_once_its_interval_was_taken(tmp_path: Path) -> None:
    trainer, trial_request = Trainer(make_dataset()), make_request(epochs=3, intervals=2)
    kept = replace(
        trial_request, checkpoints=Checkpoints(FolderArtifacts(tmp_path / "trial"), 1, every_s=0.0)
    )
    times = []
    for event in trainer.run(kept):
        found = tmp_path / "trial" / "attempt-1.ckpt"
        times.append((type(event), found.exists() and found.stat().st_mtime_ns))
    written = [time for _, time in times]
    assert written[:2] == [False, False]  # both intervals of the first epoch
    assert 0 < written[2] < written[3] == written[4]  # none behind the last epoch
    slow = replace(trial_request, checkpoints=Checkpoints(FolderArtifacts(tmp_path / "slow"), 1))
    assert course(trainer, slow) == course(trainer, trial_request)
    assert not (tmp_path / "slow").exists()
    for event in trainer.run(slow):  # nor is one written in the middle of an epoch
        trainer.checkpoint()
        at_end = isinstance(event, Ended) or event.whole  # type: ignore[union-attr]
        assert (tmp_path / "slow").exists() == at_end
        if at_end:
            break


def test_what_does_not_fit_is_not_gone_on_from(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    dataset, trial_request = make_dataset(), make_request(epochs=3)
    trainer, changed = Trainer(dataset), replace(dataset, fingerprint="1" * 64)
    interrupt(trainer, trial_request, 2, tmp_path)
    again = second_attempt(trial_request, tmp_path)
    other = replace(again, params=trial_request.params | {"learning_rate": 0.2})
    own = own_network(again)
    mapped = on_disk(dataset, tmp_path / "data")
    for foreign, elsewhere in (
        (trainer, other),
        (trainer, second_attempt(trial_request, tmp_path, known_epochs=1)),
        (Trainer(changed), again),
        (Trainer(dataset, network=OWN), own),
        (Trainer(mapped, budget_bytes=0), again),
    ):
        assert isinstance(next(foreign.run(elsewhere)), Report)
    assert next(trainer.run(again)) == Resumed(2)
    request.getfixturevalue("xla")
    assert isinstance(next(trainer.run(again)), Report)
