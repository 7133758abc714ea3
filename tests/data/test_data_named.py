"""Data sets known by name, and where they are looked for."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tuner.data import NAMES, Dataset, describe_dataset
from tuner.data.readers import bundled
from tuner.errors import DatasetError
from tuner.settings import SYSTEM_DATA, Settings

Load = Callable[..., Dataset]

FASHION = SYSTEM_DATA / "fashion-mnist"


@pytest.mark.parametrize(
    ("name", "task", "input_shape", "outputs", "rows"),
    [
        ("digits", "classes", (8, 8), 10, 1797),
        ("iris", "classes", (4,), 3, 150),
        ("wine", "classes", (13,), 3, 178),
        ("breast_cancer", "binary", (30,), 1, 569),
        ("diabetes", "regression", (10,), 1, 442),
    ],
)
def test_sets_of_scikit_learn(
    load: Load, name: str, task: str, input_shape: tuple[int, ...], outputs: int, rows: int
) -> None:
    dataset = load(name)
    assert (dataset.name, dataset.task) == (name, task)
    assert (dataset.input_shape, dataset.outputs) == (input_shape, outputs)
    assert sum(len(split) for split in dataset.splits.values()) == rows
    assert dataset.features is None or len(dataset.features) == input_shape[0]


def test_digits_are_small_images_scaled_by_their_own_range(load: Load) -> None:
    digits = load("digits")
    assert digits.train.x.dtype == np.uint8
    scaled = digits.scaling.apply(digits.train.x)
    assert (scaled.min(), scaled.max()) == (0.0, 1.0)
    assert digits.labels == tuple("0123456789")


@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is missing")
def test_fashion_mnist_of_debian(load: Load) -> None:
    start = time.perf_counter()
    fashion = load("fashion_mnist")
    assert time.perf_counter() - start < 5
    assert [len(split) for split in fashion.splits.values()] == [50_000, 10_000, 10_000]
    assert set(np.bincount(fashion.validation.y)) == {1000}
    assert fashion.train.x.shape == (50_000, 28, 28)
    assert fashion.train.x.dtype == np.uint8
    assert fashion.labels[9] == "Ankle boot"
    assert fashion.scaling.scale == np.float32(1 / 255)
    assert describe_dataset(fashion)["classes"]["Bag"] == {
        "train": 5000,
        "validation": 1000,
        "test": 1000,
    }


def test_mnist_in_the_data_home(
    load: Load, settings: Settings, write_mnist_like: Callable[..., None]
) -> None:
    write_mnist_like(settings.data_home / "mnist")
    mnist = load("mnist")
    assert [len(split) for split in mnist.splits.values()] == [50, 10, 20]
    assert mnist.input_shape == (5, 4)
    assert mnist.labels == tuple("0123456789")


def test_data_home_goes_before_the_system(
    load: Load, settings: Settings, write_mnist_like: Callable[..., None]
) -> None:
    write_mnist_like(settings.data_home / "fashion_mnist", rows=120)
    assert len(load("fashion_mnist").train) == 100


def test_fashion_mnist_in_keras_cache(
    load: Load,
    settings: Settings,
    write_mnist_like: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(bundled, "SYSTEM_DATA", tmp_path / "nowhere")
    write_mnist_like(settings.keras_home / "datasets" / "fashion-mnist")
    assert len(load("fashion_mnist").test) == 20


def test_mnist_in_keras_cache_is_an_npz(load: Load, settings: Settings) -> None:
    folder = settings.keras_home / "datasets"
    folder.mkdir(parents=True)
    x, y = np.full((60, 5, 4), 200, np.uint8), np.arange(60) % 10
    np.savez(folder / "mnist.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    assert [len(split) for split in load("mnist").splits.values()] == [50, 10, 20]


def test_a_set_found_nowhere_names_every_way(
    load: Load, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(_: str) -> None:
        raise OSError("URL fetch failure\non https://example.org")

    monkeypatch.setattr(bundled, "SYSTEM_DATA", tmp_path / "system")
    monkeypatch.setattr(bundled, "_download", offline)
    with pytest.raises(DatasetError) as caught:
        load("fashion_mnist")
    message = str(caught.value)
    assert "\n" not in message
    for way in (
        str(settings.data_home / "fashion_mnist"),
        str(tmp_path / "system" / "fashion-mnist"),
        "apt-get install dataset-fashion-mnist",
        str(settings.keras_home / "datasets" / "fashion-mnist"),
        "download by Keras failed (OSError: URL fetch failure)",
        "TUNER_DATA_HOME",
    ):
        assert way in message


def test_an_unknown_name_lists_the_known_and_the_nearest(load: Load) -> None:
    with pytest.raises(DatasetError, match=r"did you mean fashion_mnist\?") as caught:
        load("fashion-mnits")
    assert all(name in str(caught.value) for name in NAMES)


def test_importing_the_room_imports_nothing_slow() -> None:
    code = (
        "import sys, tuner.data; slow = {'pandas', 'sklearn', 'tensorflow', 'keras', 'optuna'}; "
        "print(*sorted(slow & {*sys.modules}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == ""
