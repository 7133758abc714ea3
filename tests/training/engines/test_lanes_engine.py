"""Trials that train side by side in one process end as they would alone."""

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from tensorflow_helpers import make_dataset, make_request

from tuner.data import save_dataset
from tuner.study.artifacts import FolderArtifacts
from tuner.study.messages import Checkpoints, Ended, Report, Resumed, TrialRequest, WorkerSetup
from tuner.training.engines.cache import ProgramCache
from tuner.training.engines.feeds import ResidentData
from tuner.training.engines.lanes import Lane, LaneScheduler, widest_widths
from tuner.training.program_key import program_key_of
from tuner.training.session import LaneSession, open_session

pytestmark = pytest.mark.tensorflow

CHOICES: dict[str, tuple[Any, ...]] = {
    "width": (3, 14), "activation": ("relu", "sigmoid", "tanh"), "optimizer": ("adam", "sgd"),
    "dropout": (0.0, 0.5), "batch_norm": (True, False), "learning_rate": (1e-3, 1e30),
    "class_weight": ("none", "balanced", "{a: 3}"),
}  # fmt: skip
# More than lanes, of different lengths, so that lanes are filled again while others train on.
TRIALS: tuple[dict[str, Any], ...] = (
    {"width": 5, "activation": "relu", "batch_norm": True, "epochs": 2, "optimizer": "adam"},
    {"width": 11, "activation": "tanh", "dropout": 0.3, "epochs": 4, "momentum": 0.5},
    {"width": 3, "activation": "relu", "learning_rate": 1e30, "epochs": 3, "dropout": 0.1},
    {"width": 14, "activation": "sigmoid", "batch_norm": True, "epochs": 1},
    {"width": 8, "activation": "relu", "dropout": 0.2, "epochs": 3, "optimizer": "adam"},
    {"width": 4, "activation": "tanh", "batch_norm": True, "epochs": 2, "momentum": 0.9},
)
CLASS_WEIGHTS = ("none", "{a: 3}", "none", "balanced", "balanced", "{a: 3}")
BURSTS = 2
Told = tuple[list[Report], Ended, list[np.ndarray]]


def request_of(number: int) -> TrialRequest:
    more = {"learning_rate": 0.02, "class_weight": CLASS_WEIGHTS[number]}
    params = more | TRIALS[number]
    return replace(make_request(seed=number, intervals=2, **params), choices=CHOICES)


REQUESTS = [request_of(number) for number in range(len(TRIALS))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("population") / "data"
    save_dataset(make_dataset(), folder)
    return folder


def open_sessions(folder: Path, population: int) -> list[LaneSession]:
    first = open_session(WorkerSetup(folder, 1e9, lanes=population))
    assert isinstance(first, LaneSession)
    return [first, *(first.beside() for _ in range(population - 1))]


@pytest.fixture(scope="module")
def four(folder: Path) -> list[LaneSession]:
    return open_sessions(folder, 4)


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[int, Told]:
    """Each trial in a program of one lane."""
    session = LaneSession(WorkerSetup(folder, 1e9))
    return {number: told(session, request) for number, request in enumerate(REQUESTS)}


def told(session: LaneSession, request: TrialRequest) -> Told:
    *intervals, ended = session.events(request)
    assert isinstance(ended, Ended)
    assert session.trainer.program is not None
    kept = [event for event in intervals if isinstance(event, Report)]
    return kept, ended, session.trainer.program.weights()


def train_all(
    sessions: Sequence[LaneSession], requests: dict[int, TrialRequest]
) -> dict[int, Told]:
    """Each session in a thread takes the next plan when it is done with one."""
    todo, found = list(requests.items()), {}

    def work(session: LaneSession) -> None:
        while todo:
            number, request = todo.pop(0)
            found[number] = told(session, request)

    threads = [threading.Thread(target=work, args=(session,), daemon=True) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
        assert not thread.is_alive()
    return found


@pytest.fixture(scope="module")
def together(four: list[LaneSession]) -> dict[int, Told]:
    return train_all(four, dict(enumerate(REQUESTS)))


def agree(ours: Told, theirs: Told) -> None:
    for mine, other in zip(ours[0], theirs[0], strict=True):
        assert (mine.step, mine.epoch, mine.whole) == (other.step, other.epoch, other.whole)
        assert mine.metrics == pytest.approx(other.metrics, rel=1e-5, abs=1e-5, nan_ok=True)
    kept = ("end", "best_epoch", "epochs", "parameter_count", "engine")
    assert [getattr(ours[1], name) for name in kept] == [getattr(theirs[1], name) for name in kept]
    for weight, expected in zip(ours[2], theirs[2], strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("number", [n for n in range(len(TRIALS)) if n != BURSTS])
def test_a_trial_in_a_population_is_the_trial_alone(
    number: int, together: dict[int, Told], alone: dict[int, Told]
) -> None:
    agree(together[number], alone[number])
    assert together[number][1].engine == "lanes"
    assert together[number][1].epochs == TRIALS[number]["epochs"]


def test_one_program_trains_them_all(four: list[LaneSession], together: dict[int, Told]) -> None:
    (group,) = four[0].scheduler.groups.values()
    assert group.program._run.experimental_get_tracing_count() == 1
    assert group.program._score.experimental_get_tracing_count() == 1
    assert group.is_idle
    assert together[BURSTS][1].end == "diverged"


def test_padding_is_zero_in_every_lane(four: list[LaneSession], together: dict[int, Told]) -> None:
    (group,) = four[0].scheduler.groups.values()
    kernels = group.program.store.layers[0]["kernel"]
    assert kernels.shape == (4, 6, 16)
    for lane, params in enumerate(group.program.store.params):
        if params["learning_rate"] < 1:
            assert kernels[lane, :, : params["width"]].all()
        assert not kernels[lane, :, params["width"] :].any()


def test_what_has_ended_stays_while_others_train(four: list[LaneSession], tmp_path: Path) -> None:
    first, second = four[:2]
    before = told(first, REQUESTS[0])[2]
    told(second, REQUESTS[1])
    assert first.trainer.program is not None
    for weight, expected in zip(first.trainer.program.weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
    first.save(tmp_path / "best.keras")
    assert (tmp_path / "best.keras").exists()


def test_a_pruned_trial_is_not_waited_for(four: list[LaneSession], alone: dict[int, Told]) -> None:
    pruned = four[0].events(REQUESTS[1])
    assert isinstance(next(pruned), Report)
    # A lane that only thinks about its next interval holds the others up.
    found: dict[int, Told] = {}
    other = threading.Thread(
        target=lambda: found.update({4: told(four[1], REQUESTS[4])}), daemon=True
    )
    other.start()
    other.join(0.5)
    assert not found
    pruned.close()  # type: ignore[attr-defined]
    other.join(20)
    agree(found[4], alone[4])


def test_a_lane_goes_on_from_a_checkpoint(
    four: list[LaneSession], alone: dict[int, Told], tmp_path: Path
) -> None:
    kept = Checkpoints(FolderArtifacts(tmp_path / "trial"), attempt=1, every_s=0.0)
    events = four[2].events(replace(REQUESTS[4], checkpoints=kept))
    for event in events:
        if isinstance(event, Report) and event.epoch == 3:
            break
    events.close()  # type: ignore[attr-defined]
    again = replace(REQUESTS[4], checkpoints=replace(kept, attempt=2, known_epochs=2))
    resumed, *intervals, ended = four[3].events(again)
    assert resumed == Resumed(2)
    assert isinstance(ended, Ended)
    assert four[3].trainer.program is not None
    whole = [i for i in alone[4][0] if i.epoch < 3] + list(intervals)
    agree((whole, ended, four[3].trainer.program.weights()), alone[4])  # type: ignore[arg-type]


def test_what_cannot_share_trains_beside_the_lanes(
    four: list[LaneSession], alone: dict[int, Told]
) -> None:
    exact = replace(REQUESTS[4], engine="keras")
    found = train_all(four[:2], {1: REQUESTS[1], 4: exact})
    agree(found[1], alone[1])
    assert found[4][1].engine == "keras"
    assert not isinstance(four[0].trainer.program, Lane) or not isinstance(
        four[1].trainer.program, Lane
    )
    for weight, expected in zip(found[4][2], alone[4][2], strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-3, atol=1e-4)


def test_a_group_is_found_again_while_its_trials_train() -> None:
    dataset = make_dataset()
    scheduler = LaneScheduler(dataset, ResidentData(dataset), lanes=2)
    scheduler.programs = ProgramCache(most_programs=1)

    def lane(number: int, batch_size: int = 8) -> Lane:
        request = make_request(batch_size=batch_size)
        key = program_key_of(request)
        assert key is not None
        return scheduler.lane(request, key, number)

    first, other = lane(0), lane(1, batch_size=9)
    assert lane(0)._group is not first._group is not other._group
    first = lane(0)
    with scheduler.turn:
        first.start(make_request().params, seed=0)
    lane(1, batch_size=9)  # the cache lets the group of the first go
    assert lane(1)._group is first._group
    with scheduler.turn:
        first.leave()
    lane(1, batch_size=9)
    assert lane(0)._group is not first._group


def test_room_is_for_the_widest_of_the_study() -> None:
    assert widest_widths(REQUESTS[0]) == (16,)
    assert widest_widths(replace(REQUESTS[0], choices={"width": (8, 400)})) == (416,)
    deep = make_request(depth=2, width=[30, 70])
    assert widest_widths(deep) == (32, 80)
    assert widest_widths(replace(deep, choices={"width": (8, 64), "taper": (0.5, 1.0)})) == (64, 80)


def test_a_lane_goes_on_behind_the_epoch_at_which_it_was_stopped(
    four: list[LaneSession], together: dict[int, Told], tmp_path: Path
) -> None:
    number, epoch = 1, 2
    first = replace(REQUESTS[number], checkpoints=Checkpoints(FolderArtifacts(tmp_path), 1))
    events = four[0].events(first)
    for event in events:
        if isinstance(event, Report) and event.whole and event.epoch == epoch:
            break
    four[0].checkpoint()
    events.close()  # type: ignore[attr-defined]
    second = replace(
        first, checkpoints=Checkpoints(FolderArtifacts(tmp_path), 2, known_epochs=epoch)
    )
    rest, whole = told(four[1], second), together[number]
    agree(rest, ([i for i in whole[0] if i.epoch > epoch], *whole[1:]))
    assert [i.epoch for i in rest[0]] == [3, 4]
