"""Checkpoint files: what comes back from them, what is passed over, and when they are written."""

import errno
import math
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_st
from toy_study import Bench
from toy_training import ToySession

from tuner.data import load_dataset, save_dataset
from tuner.settings import load_settings
from tuner.study.artifacts import FolderArtifacts
from tuner.study.messages import (
    Checkpoints,
    Ended,
    Goal,
    Report,
    Resumed,
    TrialRequest,
    WorkerSetup,
)
from tuner.study.spec import DataSpec
from tuner.training.checkpoints import (
    Checkpoint,
    CheckpointFiles,
    Progress,
    identity,
    read_checkpoint,
    write_checkpoint,
)

REQUEST = TrialRequest(
    "mlp", {"width": [8, 4], "rate": 0.1}, 7, Goal("val_loss", "minimize", 0.2), 3
)
SAME = "0" * 64

arrays = arrays_st.arrays(
    st.sampled_from(["float32", "float16", "float64", "int64", "uint32", "bool"]),
    arrays_st.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
finite = st.floats(allow_nan=False)
progress = st.builds(
    Progress,
    epoch=st.integers(1, 10**6),
    best=st.none() | finite,
    best_epoch=st.none() | st.integers(1),
    seconds=st.dictionaries(st.text(), finite),
)


def checkpoint_at(epoch: int, values: int = 100) -> Checkpoint:
    weights = [np.arange(values, dtype=np.float32) * epoch, np.asarray(epoch)]
    return Checkpoint(Progress(epoch, 0.5, 1), {"model": weights, "none": []})


def attempt_files(
    folder: Path, attempt: int, known_epochs: int = 99, name: str = SAME
) -> CheckpointFiles:
    checkpoints = Checkpoints(FolderArtifacts(folder), attempt, known_epochs, every_s=0.0)
    return CheckpointFiles(checkpoints, name)


def epoch_found(folder: Path, attempt: int, known_epochs: int = 99) -> int | None:
    found = attempt_files(folder, attempt, known_epochs).latest()
    return None if found is None else found.progress.epoch


@settings(max_examples=60, deadline=None)
@given(progress=progress, groups=st.dictionaries(st.text(), st.lists(arrays, max_size=3)))
def test_what_was_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    progress: Progress,
    groups: dict[str, list[np.ndarray]],
) -> None:
    path = tmp_path_factory.mktemp("trial") / "attempt-1.ckpt"
    write_checkpoint(path, SAME, Checkpoint(progress, groups))
    found = read_checkpoint(path, SAME)
    assert found is not None
    assert found.progress == progress
    assert list(found.arrays) == list(groups)
    for name, group in groups.items():
        for one, other in zip(found.arrays[name], group, strict=True):
            assert (one.dtype, one.shape, one.tobytes()) == (
                other.dtype,
                other.shape,
                other.tobytes(),
            )


def test_a_dtype_that_numpy_lacks_comes_back(tmp_path: Path) -> None:
    array = np.array([1.5, -2.0, math.inf], ml_dtypes.bfloat16)
    write_checkpoint(
        tmp_path / "one.ckpt", SAME, Checkpoint(Progress(1), {"model": [array, array[0]]})
    )
    found = read_checkpoint(tmp_path / "one.ckpt", SAME)
    assert found is not None
    whole, first = found.arrays["model"]
    assert whole.dtype == first.dtype == array.dtype
    assert (whole.tolist(), first.tolist()) == ([1.5, -2.0, math.inf], 1.5)


def test_the_newest_of_the_attempts_before_is_found(tmp_path: Path) -> None:
    for attempt, epoch in ((1, 4), (2, 6), (3, 9)):
        write_checkpoint(tmp_path / f"attempt-{attempt}.ckpt", SAME, checkpoint_at(epoch))
    assert [epoch_found(tmp_path, attempt) for attempt in (1, 2, 3, 5)] == [None, 4, 6, 9]
    assert epoch_found(tmp_path, 5, known_epochs=8) == 6
    assert epoch_found(tmp_path, 5, known_epochs=6) == 6
    assert epoch_found(tmp_path, 5, known_epochs=3) is None
    assert attempt_files(tmp_path, 5, name="1" * 64).latest() is None
    assert epoch_found(tmp_path / "nowhere", 2) is None


def test_any_damage_is_passed_over_for_an_older_file(tmp_path: Path) -> None:
    older, newer = tmp_path / "attempt-1.ckpt", tmp_path / "attempt-2.ckpt"
    write_checkpoint(older, SAME, checkpoint_at(4))
    write_checkpoint(newer, SAME, checkpoint_at(6, values=10))
    whole = newer.read_bytes()
    for size in range(len(whole)):
        newer.write_bytes(whole[:size])
        assert epoch_found(tmp_path, 3) == 4, size
        flipped = bytes([whole[size] ^ 1 << size % 8])
        newer.write_bytes(whole[:size] + flipped + whole[size + 1 :])
        assert epoch_found(tmp_path, 3) == 4, size
    for strange in (whole + b"\0", b"\0" * len(whole), whole[: len(whole) // 2] * 2):
        newer.write_bytes(strange)
        assert epoch_found(tmp_path, 3) == 4
    newer.write_bytes(whole)
    assert epoch_found(tmp_path, 3) == 6
    newer.unlink()
    newer.mkdir()
    assert epoch_found(tmp_path, 3) == 4


def test_objects_are_not_written(tmp_path: Path) -> None:
    odd = Checkpoint(Progress(1), {"model": [np.array([{}], object)]})
    with pytest.raises(ValueError, match="allow_pickle"):
        attempt_files(tmp_path, 1).write_latest(odd)
    assert list(tmp_path.iterdir()) == []


def test_files_of_older_attempts_go_once_a_newer_one_is_there(tmp_path: Path) -> None:
    for name in ("attempt-1.ckpt", "attempt-2.ckpt", "attempt-2.part", "attempt-4.ckpt"):
        (tmp_path / name).write_bytes(b"anything")
    attempt_files(tmp_path, 3).write_latest(checkpoint_at(5))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attempt-3.ckpt", "attempt-4.ckpt"]
    attempt_files(tmp_path, 3).write_latest(checkpoint_at(6))
    (tmp_path / "attempt-4.ckpt").unlink()
    assert epoch_found(tmp_path, 4) == 6


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_ten_seconds_lie_between_two(tmp_path: Path) -> None:
    clock = Clock()
    files = CheckpointFiles(Checkpoints(FolderArtifacts(tmp_path), 1), SAME, clock)
    kept = []
    for second in range(1, 36):
        clock.now = 1000.0 + second
        if files.due():
            files.write_latest(checkpoint_at(second))
            kept.append(second)
    assert kept == [10, 20, 30]


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace"])
def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failing: str,
) -> None:
    attempt_files(tmp_path, 1).write_latest(checkpoint_at(2))
    second = attempt_files(tmp_path, 2)
    with monkeypatch.context() as patch:
        patch.setattr(failing, no_space)
        second.write_latest(checkpoint_at(3))
        second.write_latest(checkpoint_at(4))
    assert [path.name for path in tmp_path.iterdir()] == ["attempt-1.ckpt"]
    path = tmp_path / "attempt-2.ckpt"
    assert caplog.messages == [
        f"no checkpoint {path} (No space left on device); training goes on without one"
    ]
    second.write_latest(checkpoint_at(5))
    assert epoch_found(tmp_path, 3) == 5


def test_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    attempt_files(tmp_path / "file" / "trial", 1).write_latest(checkpoint_at(1))


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_checkpoints import attempt_files, checkpoint_at

folder = Path(sys.argv[1])
attempt_files(folder, 1).write_latest(checkpoint_at(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for epoch in (2, 3):
    attempt_files(folder, 2).write_latest(checkpoint_at(epoch, values=10**6))
print("went on", "tensorflow" in sys.modules)
"""


def test_a_file_that_the_system_cuts_short(tmp_path: Path) -> None:
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), str(here)],
        env=os.environ | {"PYTHONPATH": str(here.parent / "support")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "went on False\n"
    assert done.stderr.count("File too large") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["attempt-1.ckpt"]
    assert epoch_found(tmp_path, 3) == 1


def test_the_identity_is_of_all_that_decides_a_curve(tmp_path: Path) -> None:
    known = identity(REQUEST, "mlp", SAME, "numpy 2")
    goal = REQUEST.goal
    for same in (
        replace(REQUEST, params=dict(reversed(REQUEST.params.items()))),
        replace(REQUEST, goal=replace(goal, target=None)),
        replace(REQUEST, checkpoints=Checkpoints(FolderArtifacts(tmp_path), 2)),
    ):
        assert identity(same, "mlp", SAME, "numpy 2") == known
    others = [
        identity(replace(REQUEST, params=REQUEST.params | {"rate": 0.2}), "mlp", SAME, "numpy 2"),
        identity(replace(REQUEST, seed=8), "mlp", SAME, "numpy 2"),
        identity(replace(REQUEST, first_epoch_reports=2), "mlp", SAME, "numpy 2"),
        identity(replace(REQUEST, goal=replace(goal, metric="loss")), "mlp", SAME, "numpy 2"),
        identity(
            replace(REQUEST, goal=replace(goal, direction="maximize")), "mlp", SAME, "numpy 2"
        ),
        identity(REQUEST, "build@1234", SAME, "numpy 2"),
        identity(REQUEST, "mlp", "1" * 64, "numpy 2"),
        identity(REQUEST, "mlp", SAME, "numpy 3"),
    ]
    assert len({known, *others}) == len(others) + 1


def test_another_version_of_tuner_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for version in ("0.1.0", "0.2.0", "0.1.0"):
        monkeypatch.setattr("tuner.training.checkpoints.tuner_version", lambda v=version: v)
        names.append(identity(REQUEST, "mlp", SAME, "numpy 2"))
    assert names[0] == names[2] != names[1]


def test_checkpoints_are_no_part_of_a_request(tmp_path: Path) -> None:
    assert replace(REQUEST, checkpoints=Checkpoints(FolderArtifacts(tmp_path), 2)) == REQUEST


@pytest.fixture
def toy(tmp_path: Path) -> ToySession:
    Bench.write_data(tmp_path / "points.npz")
    dataset = load_dataset(DataSpec(source=str(tmp_path / "points.npz")), load_settings())
    save_dataset(dataset, tmp_path / "data")
    return ToySession(WorkerSetup(tmp_path / "data", 1e9))


@pytest.mark.parametrize("act", ["learn", "fall", "flat"])
def test_a_toy_trial_goes_on(toy: ToySession, tmp_path: Path, act: str) -> None:
    params = {"x": 0.8, "epochs": 8, "patience": 4, "act": act, "at": 3}
    request = TrialRequest("toy.py:build", params, 1, Goal("val_accuracy", "maximize"))
    *intervals, ended = toy.events(request)
    assert isinstance(ended, Ended)
    events = toy.events(
        replace(request, checkpoints=Checkpoints(FolderArtifacts(tmp_path / "trial"), 1, 0, 0.0))
    )
    for _ in range(3):
        assert isinstance(next(events), Report)
    again = toy.events(
        replace(request, checkpoints=Checkpoints(FolderArtifacts(tmp_path / "trial"), 2, 3, 0.0))
    )
    assert list(again) == [Resumed(2), *intervals[2:], ended]


EARLIER_REQUESTS = {
    "1fa361746c0b43e705ee13885f21608b52e19394a3c724d7f48ea7aab4399f3f": REQUEST,
    "02fef91a9fb2986f6fe1c8f9c72d74c2d939952e877cb3f4082cdf0add8684b6": replace(
        REQUEST, choices={"width": (8, 64), "activation": ("relu", "tanh")}
    ),
    # The Keras engine was called "exact".
    "6f8e70d1412e432514c711dcc6baa27223bee6772348dd834f75148515437034": replace(
        REQUEST, engine="keras"
    ),
    "8a2336ab8ef555f0d856c9ccded9d17633a429d98bd669ffb58408a50793fc1d": replace(
        REQUEST, held_out="test", goal=Goal("test_accuracy", "maximize")
    ),
}


@pytest.mark.parametrize("earlier", EARLIER_REQUESTS)
def test_the_identity_is_that_of_earlier_versions(
    earlier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These were computed before engines were renamed and fields were added."""
    monkeypatch.setattr("tuner.training.checkpoints.tuner_version", lambda: "1.2.3")
    surroundings = "tensorflow 2.21, CPU xla=False streams=False alone"
    assert identity(EARLIER_REQUESTS[earlier], "mlp", "f" * 64, surroundings) == earlier
    without_target = replace(
        EARLIER_REQUESTS[earlier],
        goal=replace(EARLIER_REQUESTS[earlier].goal, target=None),
        checkpoints=Checkpoints(FolderArtifacts(Path("folder")), 2),
        host_metrics=("f1",),
    )
    assert identity(without_target, "mlp", "f" * 64, surroundings) == earlier
