"""How long a large CSV file takes, beside pandas' own reading of it.

In a process of its own: python -m benchmarks.csv_files reading --json '{"rows": 1000000}'.
"""

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
from tuner.data import load_dataset
from tuner.settings import load_settings
from tuner.study.spec import DataSpec

_PROGRAM = Path(sys.executable).with_name("tuner")
_CITIES = ("Berlin", "Paris", "Rome", "Oslo", "Vienna")


def _floats(rows: int) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{i}": draw.normal(size=rows) for i in range(9)})
    return frame.assign(y=(frame["x0"] > 0).astype(int))


def _mixed(rows: int) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{i}": draw.normal(size=rows).round(4) for i in range(5)})
    frame = frame.assign(count=draw.integers(0, 1000, rows), age=draw.integers(18, 99, rows))
    frame = frame.assign(city=draw.choice(_CITIES, rows), kind=draw.choice(["a", "b"], rows))
    return frame.assign(y=np.where(frame["x0"] > 0, "yes", "no"))


def reading(rows: int = 1_000_000, rounds: int = 5) -> Result:
    """By kind of table, of 10 columns: median seconds of `pandas.read_csv`, of `load_dataset`, and
    of `tuner data describe` less that of a file of 100 rows; all in turn."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            "floats": _compared(_floats, rows, rounds, Path(folder)),
            "mixed": _compared(_mixed, rows, rounds, Path(folder)),
        }


def _compared(
    make: Callable[[int], pd.DataFrame], rows: int, rounds: int, folder: Path
) -> dict[str, float]:
    path, short = folder / "large.csv", folder / "short.csv"
    make(rows).to_csv(path, index=False)
    make(100).to_csv(short, index=False)
    settings = load_settings(f"sqlite:///{folder}/tuner.db", None)
    spec = DataSpec(source=f"{path}:y")
    sides: dict[str, Callable[[], object]] = {
        "pandas": lambda: pd.read_csv(path),
        "tuner": lambda: load_dataset(spec, settings),
        "describe": lambda: _describe(path, folder),
        "short": lambda: _describe(short, folder),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    medians["describe"] -= medians.pop("short")
    return {name: round(value, 3) for name, value in medians.items()}


def _describe(path: Path, folder: Path) -> None:
    command = [str(_PROGRAM), "data", "describe", f"{path}:y", "--json"]
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main("csv_files", reading)
