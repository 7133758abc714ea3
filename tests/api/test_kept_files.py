"""Data from memory as studies have them: found by name, by commands, and deleted with the last."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_study import Bench

import tuner
from tuner.manage.kept_files import kept_files

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.arange(60) % 2
TABLE = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": Y})


def kept() -> list[str]:
    return sorted(str(path) for path in Path(".tuner/data").rglob("*") if path.is_file())


def test_the_same_data_are_the_same_study(bench: Bench) -> None:
    study = tuner.create_study("one", space="mlp", data=(X, Y))
    assert tuner.create_study("one", space="mlp", data=(X.copy(), Y.tolist())) == study
    assert len(kept()) == 1
    with pytest.raises(tuner.StudyError, match="exists with another definition: data was"):
        tuner.create_study("one", space="mlp", data=(X + 1, Y))
    assert tuner.create_study(space="mlp", data=(X, Y)).name.startswith("mlp-arrays-")


def test_data_go_with_the_last_study_that_uses_them(bench: Bench) -> None:
    splits = ((TABLE[["a", "b"]], TABLE["c"]), (TABLE[["a", "b"]], TABLE["c"]))
    first, second = (
        [
            tuner.create_study(f"{name}-{number}", space="tabular", data=data, target=target)
            for number, (data, target) in enumerate([((X, Y), None), (TABLE, "c"), (splits, None)])
        ]
        for name in ("first", "second")
    )
    files = kept()
    assert len(files) == 5
    for study in first:
        study.delete(keep_runs=True)
    assert kept() == files
    second[0].delete(keep_runs=True, keep_data=True)
    assert kept() == files
    for study in second[1:]:
        study.delete(keep_runs=True)
    assert [Path(name).suffix for name in kept()] == [".npz"]
    assert [path.name for path in Path(".tuner/data").iterdir()] == [Path(kept()[0]).name]


def test_only_kept_files_are_deleted(bench: Bench) -> None:
    """Not a user's own file, wherever it lies."""
    Path(".tuner/data").mkdir(parents=True)
    for name in ("mine.npz", ".tuner/data/mine.npz"):
        np.savez(name, x=X, y=Y)
        tuner.create_study("own", space="mlp", data=name).delete(keep_runs=True)
        assert Path(name).exists()
    Path(f".tuner/data/arrays-{'a' * 16}.npz").touch()
    wrong = f"../.tuner/data/arrays-{'b' * 16}.npz .tuner/data/arrays-{'a' * 15}.npz .tuner/code/x"
    assert kept_files(bench.settings, wrong) == []
