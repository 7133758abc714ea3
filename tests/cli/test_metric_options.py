"""Metrics as commands take them and show them: recorded ones, and a user's own."""

import csv
import functools
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from stored_spec import change_spec
from toy_study import Bench
from toy_training import CODE, TOY

from tuner.manage.stored_functions import user_metrics
from tuner.reports.comparisons import train
from tuner.settings import load_settings
from tuner.storage import open_store
from tuner.storage.corrections import has_finished
from tuner.storage.studies import load_study
from tuner.study.metrics import METRICS
from tuner.study.spec import StudySpec

SPACE = """
network: toy.py:build
data: points.npz
parameters:
  x: {type: float, low: 0, high: 1}
  act: {type: categorical, choices: [learn, fall]}
  at: 3
  val_auc: {type: int, low: 1, high: 2}
  epochs: 3
baselines:
  - {x: 0.5, act: learn, val_auc: 1}
  - {x: 0.75, act: fall, val_auc: 2}
"""
COST = """
from prices import PRICE
print("the user's file ran")

def cost(y_true, y_pred):
    assert y_pred.shape == (len(y_true), 3)
    return PRICE * (y_pred.argmax(1) != y_true).mean()
"""
PRICES = "PRICE = 99\n"
CREATE = ["study", "create", "s", "--space", "./space.yaml", "--sampler", "listed"]
OWN = [*CREATE, "--metric", "cost.py:cost", "--direction", "minimize"]


@pytest.fixture
def folder(tuner, untried, tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "toy.py").write_text(CODE)
    (tmp_path / "cost.py").write_text(COST)
    (tmp_path / "prices.py").write_text(PRICES)
    Bench.write_data(tmp_path / "points.npz")
    return tmp_path


def spec() -> StudySpec:
    store = open_store(load_settings().storage)
    try:
        return load_study(store, "s").spec
    finally:
        store.close()


def search(folder: Path, trials: int) -> None:
    """What `tuner optimize` does, with toys."""
    store = open_store(load_settings().storage)
    Bench(folder, store).run(trials)
    assert has_finished(store, load_study(store, "s"))
    store.close()


def refusal(done: Any) -> str:
    """The one line of a command that is refused, besides what the user's file prints."""
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.removeprefix("the user's file ran\n").splitlines()
    assert line.startswith("tuner: ")
    return str(line.removeprefix("tuner: "))


def test_a_study_keeps_what_it_records(tuner, folder):
    made = tuner(*OWN, *["--record", "val_auc", "--record", "val_f1", "--record", "cost.py:cost"])
    assert made.code == 0, made.err
    assert "created study s: val_cost, minimize\nrecorded too: val_auc, val_f1\n" in made.out
    assert "the user's file ran" in made.err  # not amid results
    assert (spec().metric, spec().record) == ("val_cost", ("val_auc", "val_f1"))
    assert list(spec().code) == ["cost.py", "prices.py", "toy.py"]
    (function,) = user_metrics(load_settings(), spec()).values()
    assert (function.path, function.modules) == ("cost.py", (("prices.py", PRICES),))
    assert "with this definition" in tuner(*OWN, "--record", "val_f1", "--record", "val_auc").out
    other = refusal(tuner(*OWN, "--record", "val_f1"))
    assert "recorded metrics was val_auc, val_f1, is val_f1" in other
    turned = refusal(tuner(*OWN[:-1], "maximize", "--record", "val_f1", "--record", "val_auc"))
    assert "metric was val_cost (minimize), is val_cost (maximize)" in turned


REFUSED = {
    "--metric cost.py:cost": "cost.py:cost: is more of it better, or less? Say --direction maximiz",
    "--metric cost.py --direction maximize": "cost.py: name a metric of your own as cost.py:FUNCT",
    "--record cost.py:": "cost.py:: name a metric of your own as cost.py:FUNCTION",
    "--record :cost": ":cost: name a metric of your own as my_file.py:FUNCTION",
    "--record gone.py:cost": "gone.py: No such file or directory",
    "--record cost.py:lost": "cost.py: no function 'lost'; it has cost",
    "--record cost.py:auc": "cost.py:auc: auc is the name of a metric of tuner; rename the functi",
    "--record a.py:cost --record cost.py:cost": "cost.py:cost: a.py:cost has this name too; renam",
    "--record raises.py:raises": "raises.py:2: ZeroDivisionError: division by zero",
    "--record raises.py:text": "raises.py:text: must return one number, it returned a str",
    "--record raises.py:nan": "raises.py:nan: returned nan for made-up predictions of ",
    "--record val_r2": "unknown metric 'val_r2' for classes; there are: val_",
    "--record auc": "unknown metric 'auc' for classes; there are: val_auc, ",
    "--metric val_top_5_accuracy": "val_top_5_accuracy is always 1 for 3 classes",
    "--record val_top_5_accuracy": "val_top_5_accuracy is always 1 for 3 classes",
    "--metric val_auc --direction minimize": "val_auc is better when it is larger: the direction",
}
RAISES = """def raises(y_true, y_pred):
    return 1 / 0
def text(y_true, y_pred): return "1"
def nan(y_true, y_pred): return float("nan")
"""


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_is_refused_and_leaves_nothing(tuner, folder, words):
    (folder / "raises.py").write_text(RAISES)
    before = sorted(folder.iterdir())
    assert refusal(tuner(*CREATE, *words.split())).startswith(REFUSED[words])
    assert sorted(folder.iterdir()) == before


def test_an_own_metric_is_corrected_until_a_trial_has_finished(tuner, folder):
    assert tuner(*OWN).code == 0
    (folder / "prices.py").write_text(PRICES.replace("99", "999"))
    stopped = refusal(tuner("optimize", "s", "--trials", "1", "--no-tracking"))
    assert stopped.startswith("prices.py has changed since the study was created")
    corrected = tuner(*OWN)
    assert "takes the corrected code" in corrected.out
    assert "(prices.py has changed)" in corrected.out
    search(folder, 1)
    (folder / "cost.py").write_text((folder / "cost.py").read_text() + "\n")
    assert "cost.py has changed; 1 trial has finished with the former" in refusal(tuner(*OWN))


def test_a_planted_metric_does_not_run(tuner, folder, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    assert tuner(*CREATE).code == 0
    text = "from pathlib import Path\nPath('ran').touch()\ndef cost(y_true, y_pred): return 1\n"
    sha256 = hashlib.sha256(text.encode()).hexdigest()

    def plant(stored: dict[str, Any]) -> None:
        stored["own_metrics"] = {"cost": {"path": "evil.py", "function": "cost"}}
        stored["record"] = ["val_cost"]
        stored["code"]["evil.py"] = {"sha256": sha256, "text": text}

    change_spec(plant)
    line = refusal(tuner("optimize", "s", "--trials", "1", "--no-tracking"))
    assert f"--trust-code {sha256}" in line
    assert "  Path('ran').touch()\n" in tuner("study", "code", "s").out
    assert not (folder / "ran").exists()


def test_tables_show_the_best_epoch_s_values(tuner, folder):
    record = ["--record", "val_auc", "--record", "val_accuracy"]
    assert tuner(*OWN, *record).code == 0
    search(folder, 2)
    rows = json.loads(tuner("trial", "list", "s", "--json").out)
    # 0.5 and 0.75, each less than 0.001 below what it climbs to; the second falls in epoch 3.
    reached = [0.5 * (1 - 0.5**3), 0.75 * (1 - 0.5**2)]
    for row, accuracy in zip(rows, reached, strict=True):
        values = {"val_accuracy": accuracy, "val_auc": 1.1 - accuracy}
        assert row["metrics"] == pytest.approx(values, abs=1e-3)
        assert row["score"] == row["metrics"]["val_auc"]  # a toy's host metrics are all the same
    table = tuner("trial", "list", "s").out
    names = next(line for line in table.splitlines() if line.startswith("trial")).split("  ")
    wanted = ["score", "val auc", "val accuracy", "epochs"]
    assert [name for name in map(str.strip, names) if name in wanted] == wanted
    assert "val_auc_param" in table
    best = json.loads(tuner("study", "best", "s", "--json").out)
    assert (best["trial"], best["metrics"]) == (1, rows[1]["metrics"])
    assert f"\n  val_auc {1.1 - reached[1]:.3f}" in tuner("study", "best", "s").out
    shown = json.loads(tuner("study", "show", "s", "--json").out)
    assert shown["recorded"] == ["val_auc", "val_accuracy"]
    assert shown["own_metrics"] == ["cost.py:cost"]
    assert shown["best_metrics"] == rows[1]["metrics"]
    exported = list(csv.DictReader(io.StringIO(tuner("study", "export", "s").out)))
    assert [row["val_accuracy"] for row in exported] == [
        str(row["metrics"]["val_accuracy"]) for row in rows
    ]
    one = json.loads(tuner("trial", "show", "1", "--study", "s", "--json").out)
    assert one["metrics"] == rows[1]["metrics"]
    assert list(one["intervals"][0])[:5] == ["epoch", "step", "val_cost", "val_auc", "val_accuracy"]
    assert "\nval accuracy " in tuner("trial", "show", "1", "--study", "s").out


def test_a_comparison_shows_all_of_them_on_the_test_split(tuner, folder, monkeypatch):
    monkeypatch.setattr("tuner.reports.comparisons.train", functools.partial(train, entry=TOY))
    record = ["--record", "val_auc", "--record", "val_f1"]
    assert tuner(*OWN, *record).code == 0
    search(folder, 1)
    (folder / "cost.py").unlink()  # the study has it
    words = ["compare", "--study", "s", "--seeds", "2", "--workers", "1", "--no-tracking"]
    done = tuner(*words, "--json")
    assert done.code == 0, done.err
    printed = json.loads(done.out)
    (row,) = printed["rows"]
    assert printed["metric"] == "test_cost"
    numbers = [row[f"{name}_mean"] for name in ("test_cost", "test_auc", "test_f1_percent")]
    assert numbers == pytest.approx([0.6625, 0.6625, 66.25], abs=0.2)
    assert 0 < row["test_auc_std"] < 1e-3
    assert "test cost" in (table := tuner(*words).out)
    assert "test f1 %" in table
    assert " ± " in table


def test_all_metrics_are_listed(tuner):
    listed = json.loads(tuner("metrics", "--json").out)
    assert [entry["metric"] for entry in listed] == [f"val_{name}" for name in METRICS]
    of_numbers = tuner("metrics", "--task", "regression").out
    assert "val_r2" in of_numbers
    assert "val_auc" not in of_numbers
