"""A lineage of generations trains bit for bit the same from its checkpoints and from its start."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from tensorflow_helpers import make_dataset, make_request, weights

from tuner.study.artifacts import FolderArtifacts
from tuner.study.messages import Checkpoints, Ended, Generation, Report, Resumed, TrialRequest
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

LENGTH = {"epochs": 6, "patience": 1, "dropout": 0.3, "depth": 1}
PARAMS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "batch_norm": True, "weight_decay": 0.1},
    "momentum": {
        "momentum": 0.9, "schedule": "plateau", "plateau_factor": 0.5, "plateau_patience": 1,
        "plateau_min_delta": 0.0,
    },
}  # fmt: skip
# Of the second and of the third generation.
CHANGES: tuple[dict[str, Any], ...] = (
    {"learning_rate": 0.03, "dropout": 0.1},
    {"learning_rate": 0.004, "dropout": 0.5},
)


def lineage(name: str, engine: Any) -> list[TrialRequest]:
    """The requests of three generations, of two epochs each."""
    first = make_request(**LENGTH | PARAMS[name])
    params = [first.params, *(first.params | change for change in CHANGES)]
    generations = [Generation(each, 2 * n + 2) for n, each in enumerate(params)]
    return [
        replace(
            first,
            params=each,
            engine=engine,
            earlier=tuple(generations[:n]),
            last_epoch=2 * n + 2,
        )
        for n, each in enumerate(params)
    ]


def run(trainer: Trainer, request: TrialRequest) -> tuple[list[Any], list[bytes]]:
    """What a trial says, but its seconds, and its weights."""
    events = [event for event in trainer.run(request) if not isinstance(event, Resumed)]
    said = [replace(event, seconds={}) for event in events if isinstance(event, Report | Ended)]
    return said, [each.tobytes() for each in weights(trainer)]


def kept(folder: Path, generation: int, epochs: int) -> Checkpoints:
    """Those of a generation whose trial has one attempt."""

    def of(number: int) -> FolderArtifacts:
        return FolderArtifacts(folder / str(number))

    parent = Checkpoints(of(generation - 1), 2, epochs) if generation else None
    return Checkpoints(of(generation), 1, every_s=1e9, parent=parent)


@pytest.mark.parametrize(("name", "engine"), [("adam", "auto"), ("momentum", "keras")])
def test_a_replayed_lineage_is_the_same_to_the_bit(name: str, engine: Any, tmp_path: Path) -> None:
    trainer, courses = Trainer(make_dataset()), []
    requests = lineage(name, engine)
    for generation, request in enumerate(requests):
        checkpoints = kept(tmp_path, generation, 2 * generation)
        courses.append(run(trainer, replace(request, checkpoints=checkpoints)))
    # The last one leaves nothing for others; each began where its parent ended.
    assert sorted(path.parent.name for path in tmp_path.rglob("*.ckpt")) == ["0", "1"]
    assert [[r.epoch for r in said if isinstance(r, Report)] for said, _ in courses] == [
        [1, 2],
        [3, 4],
        [5, 6],
    ]
    assert run(trainer, requests[2]) == courses[2]
    # A damaged checkpoint of the parent costs time alone.
    [file] = (tmp_path / "0").rglob("*.ckpt")
    file.write_bytes(file.read_bytes()[:-1])
    again = Checkpoints(FolderArtifacts(tmp_path / "again"), 1, parent=kept(tmp_path, 1, 2).parent)
    assert run(trainer, replace(requests[1], checkpoints=again)) == courses[1]
    # What an earlier generation trained with counts.
    first, second = requests[2].earlier
    other = replace(requests[2], earlier=(first, second._replace(params=first.params)))
    assert courses[2] != run(trainer, other)


def test_only_the_last_epoch_of_a_lineage_reads_the_test_split() -> None:
    request = lineage("momentum", "keras")[2]
    goal = replace(request.goal, metric="test_accuracy", target=0.0)
    request = replace(request, goal=goal, held_out="test")
    said, _ = run(Trainer(make_dataset().for_test()), request)
    reports = [event for event in said if isinstance(event, Report)]
    assert [any(name.startswith("test_") for name in r.metrics) for r in reports] == [False, True]
