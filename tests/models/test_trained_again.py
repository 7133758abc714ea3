"""A trial that is trained again gives the network of the search, to the last bit."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_study import Bench, digits_bench

from tuner.models.trial_networks import NetworkSource, save_network
from tuner.runner import KERAS
from tuner.search_space import make_space
from tuner.storage import open_store
from tuner.storage.studies import load_study
from tuner.storage.trials import TrialRow

pytestmark = [pytest.mark.usefixtures("own_fork_server"), pytest.mark.tensorflow, pytest.mark.slow]
# Layers' sizes, activation, optimizer and more vary, so that a shared program has choices.
SEARCHED: dict[str, Any] = {
    "depth": 2,
    "width": {"type": "int", "low": 8, "high": 40, "repeat": "depth"},
    "activation": {"type": "categorical", "choices": ["relu", "gelu", "tanh"]},
    "batch_norm": {"type": "categorical", "choices": [True, False]},
    "dropout": {"type": "float", "low": 0.0, "high": 0.4},
    "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
    "learning_rate": {"type": "float", "low": 1e-3, "high": 1e-1, "log": True},
}


def searched(
    folder: Path,
    asked: dict[str, Any],
    trials: int = 2,
    epochs: int = 3,
    batch_size: int = 16,
    **limits: Any,
) -> Bench:
    """A study on digits, searched."""
    space = make_space("mlp", SEARCHED | {"epochs": epochs, "batch_size": batch_size})
    bench = digits_bench(folder, space, seed=4)
    asked = {"log_models": "all"} | asked
    outcome = bench.run(trials, asked.get("lanes", 1), entry=KERAS, asked=asked, **limits)
    assert outcome.reason == ("target" if "target" in limits else None)
    return bench


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search as most are, to be copied."""
    folder = tmp_path_factory.mktemp("usual")
    searched(folder, {}).store.close()
    return folder


@pytest.fixture
def bench(usual: Path, tmp_path: Path) -> Bench:
    shutil.copytree(usual, tmp_path, dirs_exist_ok=True)
    return Bench(tmp_path, open_store(f"sqlite:///{tmp_path}/tuner.db"))


def test_the_usual_network_is_the_same(bench: Bench) -> None:
    for trial in bench.trials:
        assert trial.last is not None and trial.last.engine == "graph"
        assert_repeated(bench, trial.number)


@pytest.mark.parametrize(
    ("asked", "trials", "more", "engine"),
    [
        # Worth compiling by its epochs, of which the target leaves few.
        ({}, 1, {"epochs": 120, "batch_size": 4, "target": 0.9}, "tiered"),
        ({"engine": "keras"}, 1, {}, "keras"),
        ({"lanes": 2}, 2, {}, "lanes"),
    ],
)
def test_the_network_is_the_same(
    tmp_path: Path, asked: dict[str, Any], trials: int, more: dict[str, Any], engine: str
) -> None:
    bench = searched(tmp_path, asked, trials, **more)
    assert len(bench.trials) == trials
    for trial in bench.trials:
        assert trial.last is not None and trial.last.engine == engine
        assert_repeated(bench, trial.number)


def test_a_trial_that_reached_the_target(tmp_path: Path) -> None:
    bench = searched(tmp_path, {}, epochs=20, target=0.5)
    ended = [trial for trial in bench.trials if trial.end == "target"]
    assert ended
    for trial in ended:
        assert trial.last is not None and trial.last.epochs < 20
        assert_repeated(bench, trial.number)


def assert_repeated(bench: Bench, number: int) -> None:
    study, target = load_study(bench.store), bench.folder / "again.keras"
    trial = bench.trials[number]
    assert trial.last is not None
    kept = saved_file(bench, trial).rename(bench.folder / "kept.keras")
    done = save_network(bench.settings, bench.store, study, trial, target)
    assert (done.source, done.remarks) == (NetworkSource.TRAINED, [])
    assert weights(target) == weights(kept)


def saved_file(bench: Bench, trial: TrialRow) -> Path:
    assert trial.last is not None and trial.last.model_path is not None
    return bench.settings.checkpoints / trial.last.model_path


def weights(path: Path) -> list[bytes]:
    import keras

    return [weight.tobytes() for weight in keras.saving.load_model(path).get_weights()]


def test_another_score_is_said(bench: Bench, tmp_path: Path) -> None:
    """As after an upgrade of TensorFlow: here SQL has another score than training brings."""
    trial = bench.trials[0]
    assert trial.last is not None
    saved_file(bench, trial).unlink()
    other = replace(trial, attempts=[replace(trial.last, score=0.25)])
    target = tmp_path / "again.keras"
    done = save_network(bench.settings, bench.store, load_study(bench.store), other, target)
    (remark,) = done.remarks
    assert f"val_accuracy {trial.last.score!r}, in the search 0.25" in remark
    assert target.is_file()


def test_training_that_fails_is_told_in_one_line(bench: Bench, tmp_path: Path) -> None:
    from tuner.errors import StudyError

    trial = bench.trials[0]
    assert trial.last is not None
    saved_file(bench, trial).unlink()
    target = tmp_path / "again.keras"
    for params, told in (
        ({"learning_rate": 1e30, "optimizer": "sgd", "batch_norm": False}, "it diverged in epoch"),
        ({"width": "wide"}, "cannot be trained again: "),
    ):
        other = replace(trial, params=trial.params | params)
        with pytest.raises(StudyError, match=f"^trial 0 [^\n]*{told}[^\n]*$"):
            save_network(bench.settings, bench.store, load_study(bench.store), other, target)
        assert not target.exists()


def test_a_copy_imports_no_tensorflow() -> None:
    import subprocess

    modules = "sys, tuner.models.trial_networks, tuner.cli.result_output"
    code = f"import {modules}; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
