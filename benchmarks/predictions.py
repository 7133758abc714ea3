"""How long `tuner predict` takes, beside pandas' reading and Keras' own `predict`.

In a process of its own: python -m benchmarks.predictions scoring --json '{"rows": 1000000}'.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.commands import Result, main
from tuner.preparation.keras_file import read_description

_PROGRAM = Path(sys.executable).with_name("tuner")
_CATEGORIES = (3, 4, 20, 2, 50)
# Gives the seconds of its steps. The encoded rows lie in a file: their encoding costs nothing.
_KERAS = """
import json, sys, time
import numpy, pandas
table, encoded, network, batch = sys.argv[1:]
began = time.perf_counter()
import keras
model = keras.saving.load_model(network, compile=False)
loaded = time.perf_counter()
pandas.read_csv(table)
model.predict(numpy.load(encoded, mmap_mode="r"), batch_size=int(batch), verbose=0)
print(json.dumps([loaded - began, time.perf_counter() - loaded]))
"""


def _table(rows: int, seed: int) -> pd.DataFrame:
    """20 columns and a target: 14 numbers and 5 categories, some with gaps, and a date."""
    draw = np.random.default_rng(seed)
    table = pd.DataFrame({f"number_{i}": draw.normal(50 * i, 10, rows).round(3) for i in range(14)})
    for name in table.columns[::3]:
        table.loc[draw.random(rows) < 0.05, name] = np.nan
    for number, count in enumerate(_CATEGORIES):
        names = np.array([f"value {each}" for each in range(count)], object)
        table[f"category_{number}"] = names[draw.integers(0, count, rows)]
    table.loc[draw.random(rows) < 0.03, "category_1"] = None
    days = np.datetime64("2020-01-01") + draw.integers(0, 1500, rows)
    churned = np.where(table["number_1"] + draw.normal(0, 5, rows) > 55, "yes", "no")
    return table.assign(day=days.astype(str), churned=churned)


def _run(folder: Path, *words: str) -> float:
    """Seconds of a command."""
    began = time.perf_counter()
    subprocess.run([_PROGRAM, *words], cwd=folder, capture_output=True, check=True)
    return time.perf_counter() - began


def _keras(folder: Path, table: str, batch: int) -> tuple[float, float]:
    """Seconds of the import with loading the network, and of reading and predicting."""
    command = [sys.executable, "-c", _KERAS, table, "encoded.npy", "best.keras", str(batch)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    start, work = json.loads(done.stdout)
    return start, work


def _train(folder: Path) -> None:
    _table(5000, seed=0).to_csv(folder / "train.csv", index=False)
    settings = ["--epochs", "2", "--set", "depth=2", "--set", "width=64"]
    _run(folder, "study", "create", "churn", "--data", "train.csv:churned", *settings)
    _run(folder, "optimize", "churn", "--trials", "1", "--no-tracking")
    _run(folder, "study", "best", "churn", "--save", "best.keras")


def scoring(rows: int = 1_000_000, rounds: int = 3) -> Result:
    """Median seconds, all in turn. `csv`, `parquet`: of `tuner predict` with that output, less
    those of ten rows, which are `start`. `keras_N`: of pandas' reading and Keras' predict of
    encoded rows in batches of N; `keras_start`: of its import."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _train(folder)
        table = _table(rows, seed=1).drop(columns="churned")
        for file, part in {"many.csv": table, "few.csv": table[:10]}.items():
            part.to_csv(folder / file, index=False)
        features = read_description(folder / "best.keras").preparation.input_shape
        encoded = np.random.default_rng(0).random((rows, *features), np.float32)
        np.save(folder / "encoded.npy", encoded)

        def predict(file: str, output: str) -> float:
            return _run(folder, "predict", "best.keras", file, "--output", output, "--force")

        sides: dict[str, Callable[[], float]] = {
            "start": lambda: predict("few.csv", "few-predicted.csv"),
            "keras_start": lambda: _keras(folder, "few.csv", 8192)[0],
            "csv": lambda: predict("many.csv", "predicted.csv"),
            "keras_8192": lambda: _keras(folder, "many.csv", 8192)[1],
            "parquet": lambda: predict("many.csv", "predicted.parquet"),
            "keras_32": lambda: _keras(folder, "many.csv", 32)[1],
        }
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side, measure in sides.items():
                seconds[side].append(measure())
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    for output in ("csv", "parquet"):
        medians[output] -= medians["start"]
    return {side: round(value, 2) for side, value in medians.items()}


if __name__ == "__main__":
    main("predictions", scoring)
