"""A folder of 20 000 PNG files: how long until training has them, beside Keras' own reader.

In a process of its own: python -m benchmarks.image_files reading --json '{"images": 20000}'.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.commands import Result, main

_SIDE = 64
_CLASSES = 10
_BATCH = 32


def reading(images: int = 20_000, rounds: int = 5) -> Result:
    """Medians of seconds, tuner and Keras in turn, TensorFlow imported before. `first`: from the
    folder to the first batch. `epoch`: until each image was in a batch of the first epoch. `later`:
    a later epoch. tuner has decoded all images before its first batch; Keras decodes them as the
    first epoch goes on, and keeps them in memory (`cache()`)."""
    sides: dict[str, list[Result]] = {"ours": [], "keras": []}
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder) / "photos", images)
        for _ in range(rounds):
            for side, results in sides.items():
                command = [sys.executable, "-m", "benchmarks.image_files", side, "--json"]
                done = subprocess.run(
                    [*command, json.dumps({"folder": folder})], stdout=subprocess.PIPE, check=True
                )
                results.append(json.loads(done.stdout.splitlines()[-1]))
    return {
        side: {name: statistics.median(result[name] for result in results) for name in results[0]}
        for side, results in sides.items()
    }


def _write(folder: Path, images: int) -> None:
    """Smooth colours with a little noise: some 8 kB a file, as photos have."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for number in range(images):
        place = folder / f"class{number % _CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8))
        smooth = np.asarray(coarse.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), np.int16)
        pixels = (smooth + draw.integers(-4, 5, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(place / f"{number:05}.png")


def ours(folder: str) -> Result:
    """As a search reads it, from a cache that has nothing yet: decoded, split, its fingerprint and
    scaling computed, written for the workers, and opened there."""
    import tensorflow  # noqa: F401 (imported before, as for the other side)

    from tuner.data import load_dataset, open_dataset, save_dataset
    from tuner.settings import load_settings
    from tuner.study.spec import DataSpec

    place = Path(folder) / "project"
    settings = load_settings(f"sqlite:///{place}/tuner.db", None)
    began = time.perf_counter()
    dataset = load_dataset(DataSpec(source=f"{folder}/photos", test=0.01), settings)
    save_dataset(dataset, place / "scratch")
    train = open_dataset(place / "scratch").train

    def epoch() -> float:
        order = np.random.default_rng(0).permutation(len(train))
        first = 0.0
        for start in range(0, len(order), _BATCH):
            batch = train.x[order[start : start + _BATCH]].astype(np.float32)
            assert batch.shape[1:] == (_SIDE, _SIDE, 3)
            first = first or time.perf_counter() - began
        return first

    result = _measured(epoch, began)
    shutil.rmtree(place)
    return result


def keras(folder: str) -> Result:
    """As Keras' guides read it, with the shares of the splits that tuner has."""
    import keras as library

    began = time.perf_counter()
    data = library.utils.image_dataset_from_directory(
        f"{folder}/photos",
        image_size=(_SIDE, _SIDE),
        batch_size=_BATCH,
        validation_split=0.175,
        subset="training",
        seed=0,
        verbose=False,
    ).cache()

    def epoch() -> float:
        first = 0.0
        for _ in data:
            first = first or time.perf_counter() - began
        return first

    return _measured(epoch, began)


def _measured(epoch: Callable[[], float], began: float) -> Result:
    first = epoch()
    whole = time.perf_counter() - began
    again = time.perf_counter()
    epoch()
    return {"first": first, "epoch": whole, "later": time.perf_counter() - again}


if __name__ == "__main__":
    main("image_files", reading, ours, keras)
