"""The README's way, for real: create, optimize on every core, MLflow, the network in a file."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow_helpers  # noqa: F401  # one thread, as training again wants it

pytestmark = [pytest.mark.usefixtures("own_fork_server"), pytest.mark.tensorflow, pytest.mark.slow]

TUNER = [sys.executable, "-c", "from tuner.cli import main; main()"]
Command = Callable[..., str]


@pytest.fixture
def run(tuner: Callable[..., Any]) -> Command:
    """The output of a command that ends well, inside this process."""

    def run_it(*words: str) -> str:
        done = tuner(*words)
        assert done.code == 0, done.err
        return str(done.out)

    return run_it


def optimize(folder: Path, *words: str) -> str:
    """A search as the shell starts it."""
    command = [*TUNER, "optimize", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_s_way(run: Command, tmp_path: Path) -> None:
    run("study", "create", "--data", "digits", "--epochs", "4", "--seed", "1")
    printed = optimize(tmp_path, "--trials", "3", "--workers", "2")
    assert "study mlp-digits" in printed
    assert "tuner study best mlp-digits --save best.keras" in printed

    trials = json.loads(run("trial", "list", "--json"))
    assert [trial["trial"] for trial in trials] == list(range(3))
    assert {trial["state"] for trial in trials} <= {"complete", "pruned"}

    best = json.loads(run("study", "best", "--save", "best.keras", "--json"))
    assert best["score"] == max(t["score"] for t in trials if t["state"] == "complete")
    assert accuracy_of(tmp_path / "best.keras") == pytest.approx(best["score"], abs=1e-6)
    assert best["network"] == {"path": "best.keras", "source": "copied from its saved file"}
    for saved in (tmp_path / ".tuner").rglob("*.keras"):
        saved.unlink()
    elsewhere = ("--tracking-uri", "sqlite:///none/mlflow.db")
    again = run(*elsewhere, "study", "best", "--save", "again.keras")
    assert again.endswith(
        "wrote again.keras (trained again)\n"
        "next: tuner --tracking-uri sqlite:///none/mlflow.db predict again.keras DATA\n"
    )
    assert accuracy_of(tmp_path / "again.keras") == accuracy_of(tmp_path / "best.keras")
    assert runs_in_mlflow(tmp_path) == {
        (trial["trial"], "FINISHED", trial["state"].upper()) for trial in trials
    }
    assert not [each.name for each in tmp_path.glob("tuner.db-*") if "tracker" not in each.name]
    # The study has what was asked for: the same command again adds nothing.
    run("optimize", "--trials", "3", "--quiet", "--no-tracking")
    assert len(json.loads(run("trial", "list", "--json"))) == 3


def test_data_that_have_moved(run: Command, tmp_path: Path) -> None:
    table = "a,b,ok\n" + "".join(f"{i % 7},{i % 5},{'ny'[i % 7 > 3]}\n" for i in range(90))
    (tmp_path / "t.csv").write_text(table)
    create = ["study", "create", "s", "--space", "tabular", "--epochs", "2", "--data"]
    run(*create, "t.csv:ok")
    (tmp_path / "data").mkdir()
    (tmp_path / "t.csv").rename(tmp_path / "data" / "t.csv")
    now = ["--data", "data/t.csv"]
    run("optimize", "--trials", "1", "--workers", "1", "--no-tracking", *now)
    best = json.loads(run("study", "best", "--json"))
    for network in (tmp_path / ".tuner" / "checkpoints").rglob("*.keras"):
        network.unlink()
    printed = run("study", "best", "--save", "best.keras", *now)
    assert "trained again" in printed
    assert best["score"] > 0
    compare = ["compare", "--study", "s", "--seeds", "1", "--workers", "1", "--no-tracking", *now]
    first = run(*compare)
    (tmp_path / "data").rename(tmp_path / "moved")
    compare[-1] = "moved/t.csv:ok"
    assert run(*compare).splitlines()[-1:] == first.splitlines()[-1:]


def accuracy_of(network: Path) -> float:
    """Of a saved network on the unscaled validation images, by Keras alone."""
    import keras
    import numpy as np

    from tuner.data import load_dataset
    from tuner.settings import load_settings
    from tuner.study.spec import DataSpec

    split = load_dataset(DataSpec(source="digits", seed=1), load_settings()).validation
    outputs = keras.models.load_model(network)(np.asarray(split.x, np.float32))
    return float((np.argmax(outputs, axis=1) == split.y).mean())


def runs_in_mlflow(folder: Path) -> set[tuple[int, str, str]]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("mlp-digits")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`tuner.trial` != ''")
    return {(int(r.data.tags["trial"]), r.info.status, r.data.tags["state"]) for r in runs}
