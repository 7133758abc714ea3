"""Functions that train by themselves, as commands create, search and show their studies."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fork_server import run_command

TRAIN = """
import os, signal
from pathlib import Path

def train(params, trial):
    state = trial.directory / "epoch"
    done = int(state.read_text()) if state.exists() else 0
    for epoch in range(done + 1, trial.epochs + 1):
        if epoch == 3 and trial.number == 1 and trial.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if trial.report(epoch, val_gain=params["optimizer"] * epoch):
            trial.save(f"epoch {epoch}".encode())
        state.write_text(str(epoch))
    trial.log(began_after=done, device="none")

def no_number(params, trial):
    trial.report(1, val_gain=float("nan"))

def five(a, b, c, d, e): ...

def build(params, input_shape, outputs): ...
"""
# In a study of a network that tuner trains, the optimizer could be no number.
SPACE = """
network: mine.py:train
parameters:
  optimizer: {type: float, low: 1, high: 2}
"""
WANTED = ("--metric", "val_gain", "--direction", "maximize")


@pytest.fixture
def folder(tuner: Any, tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(TRAIN)
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def _own_fork_server(own_fork_server: None) -> None:
    """These workers import no TensorFlow."""


def test_a_search_of_a_function_outlives_its_workers(tuner: Any, folder: Path) -> None:
    create = ("study", "create", "s", "--space", "space.yaml", "--epochs", "4")
    created = tuner(*create, *WANTED, "--pruner", "none")
    assert created.code == 0, created.err
    assert "mine.py:train trains by itself: train(params, trial)" in created.out
    searched = tuner("optimize", "s", "--trials", "3", "--workers", "1", "--no-tracking")
    assert searched.code == 0, searched.err
    assert "study s: 3 complete" in searched.out
    trial = json.loads(tuner("trial", "show", "1", "--json").out)
    assert (trial["epochs"], trial["best_epoch"]) == (4, 4)
    assert trial["logged"] == {"began_after": 2, "device": "none"}
    assert [each["end"] for each in trial["attempts"]] == ["worker_lost", "complete"]
    assert [row["epoch"] for row in trial["intervals"]] == [1, 2, 3, 4]
    shown = tuner("trial", "show", "1").out
    assert "own code, because mine.py:train trains by itself" in shown
    saved = tuner("study", "best", "s", "--save", "best.bin")
    assert saved.code == 0, saved.err
    assert (folder / "best.bin").read_bytes() == b"epoch 4"
    assert not list(folder.glob(".tuner/checkpoints/*/trial-*/directory"))
    reading, writing = os.pipe()
    os.close(reading)
    run_command(["study", "best", "s", "--save", "again.bin"], folder, stdout=writing)
    os.close(writing)
    assert (folder / "again.bin").read_bytes() == b"epoch 4", "written although the pipe is closed"
    refused = {
        ("study", "best", "--save", "best.keras"): "has saved a .bin file, no .keras; tuner study",
        ("predict", "s", "x.csv"): "has saved a .bin file, no .keras; tuner study",
        ("promote", "s"): "promote: mine.py:train trains by itself",
        ("compare", "--study", "s"): "compare: mine.py:train trains by itself",
        ("optimize", "s", "--more", "1", "--data", "iris"): "has no data, its function reads",
    }
    for words, reason in refused.items():
        done = tuner(*words)
        assert done.code in (1, 2), words
        assert reason in done.err, words


def test_a_search_in_which_no_trial_can_end_well_fails(tuner: Any, folder: Path) -> None:
    tuner("study", "create", "s", "--network", "mine.py:no_number", *WANTED)
    searched = tuner("optimize", "s", "--trials", "1", "--workers", "1", "--no-tracking")
    assert (searched.code, "1 diverged" in searched.out) == (1, True)
    assert "no trial has a score, and none was pruned; to see why: tuner trial show" in searched.err


@pytest.mark.parametrize(
    ("options", "reason"),
    {
        "--network mine.py:train": "name the objective that it reports, such as --metric val_auc",
        "--network mine.py:train --metric gain": "is more of it better, or less?",
        "--network mine.py:train --metric m.py:f": "reports its metrics itself: name one of them",
        "--network mine.py:train --metric val_auc --patience 3": "stops early by itself",
        "--network mine.py:train --metric val_auc --scaling none": "the study has no data to read",
        "--network mine.py:train --metric val_auc --data no.csv:y": "no.csv: no such file",
        "--network mine.py:five": "mine.py:five takes (a, b, c, d, e); write build(params",
        "--network mine.py:six": "mine.py: no function 'six'; it has train, no_number, five, build",
        "--network mine.py:build": "builds a network: build(params, input_shape, outputs); say",
        "--network other.py:train": "other.py: No such file or directory",
        "--network lstm": "must be one of",
    }.items(),
)
def test_what_a_function_cannot_have_is_refused(
    tuner: Any, folder: Path, options: str, reason: str
) -> None:
    done = tuner("study", "create", *options.split())
    assert (done.code, done.out) == (2, "")
    assert reason in done.err
    assert len(done.err.splitlines()) == 1
    assert not (folder / "tuner.db").exists()


def test_a_study_is_named_by_its_function_and_goes_on(tuner: Any, folder: Path) -> None:
    words = ("study", "create", "--network", "mine.py:train", "--metric", "val_auc")
    assert "created study mine-train: val_auc, maximize" in tuner(*words).out
    again = tuner("study", "create", "mine-train", *words[2:]).out
    assert "study mine-train exists already, with this definition" in again
    other = tuner("study", "create", "mine-train", *words[2:], "--direction", "minimize")
    assert "metric was val_auc (maximize), is val_auc (minimize)" in other.err
    shown = json.loads(tuner("study", "show", "--json").out)
    assert (shown["data"], shown["task"], shown["epochs"]) == (None, None, None)
