"""A study of a user's own network, created as a command: it is tried in a process of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuner.data import load_dataset
from tuner.manage.definition import define_study
from tuner.manage.wanted_study import Wanted
from tuner.search_space import make_space
from tuner.settings import load_settings
from tuner.storage import open_store
from tuner.storage.studies import load_study
from tuner.study.spec import DataSpec, StudySpec

NETWORK = """
import keras
def build(params, input_shape, outputs):
    model = keras.Sequential([
        keras.Input(input_shape), keras.layers.Embedding(200, params["units"]),
        keras.layers.GlobalMaxPooling1D(), keras.layers.Dense(outputs, activation="sigmoid"),
    ])
    return model
"""
SPACE = """
network: net.py:build
parameters:
  units: {type: int, low: 2, high: 4}
  learning_rate: {type: float, low: 1e-3, high: 1e-2}
"""
CREATE = ["study", "create", "s", "--space", "./own.yaml", "--data", "tokens.npz"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.yaml").write_text(SPACE)
    (tmp_path / "net.py").write_text(NETWORK)
    x = np.random.default_rng(0).integers(0, 200, (60, 7))
    np.savez(tmp_path / "tokens.npz", x=x, y=np.arange(60) % 2)
    return tmp_path


def test_a_network_is_tried_and_the_user_told_what_it_is_given(tuner: Any, folder: Path) -> None:
    made = tuner(*CREATE)
    assert (made.code, made.err) == (
        0, "tuner: trying net.py:build with 2 configurations: some seconds\n",
    )  # fmt: skip
    given = "net.py:build is given inputs of shape (7,), float32, as they are, not scaled"
    assert f"{given}; --scaling standardize scales them\n" in made.out
    store = open_store(load_settings().storage)
    spec = load_study(store, "s").spec
    store.close()
    assert spec.data.scaling == "none"  # so that whoever reads the data again has them raw
    assert load_dataset(spec.data, load_settings()).fingerprint == spec.fingerprint


def test_a_network_that_is_refused_leaves_nothing(tuner: Any, folder: Path) -> None:
    compiled = NETWORK.replace("    return", "    model.compile('sgd', 'mse')\n    return")
    (folder / "net.py").write_text(compiled)  # with an optimizer of its own learning rate
    before = sorted(folder.iterdir())
    refused = tuner(*CREATE)
    assert (refused.code, refused.out) == (2, "")
    trying, said = refused.err.splitlines()
    assert trying.startswith("tuner: trying net.py:build")
    assert said.startswith(
        "tuner: net.py:build: the space's learning_rate has no effect on a compiled model; read "
        "params['learning_rate'] in it"
    )
    assert sorted(folder.iterdir()) == before


OWN = {"network": "net.py:build", "parameters": {"units": 3}}
MLP: dict[str, Any] = {"network": "mlp", "parameters": {"depth": 1}}


@pytest.mark.parametrize(
    ("space", "dtype", "asked", "reading", "scaling", "used"),
    [
        (OWN, np.int64, "auto", 2, "none", "none"),
        (OWN, np.uint16, "auto", 2, "none", "none"),
        (OWN, np.int64, "standardize", 2, "standardize", "standardize"),
        (OWN, np.float64, "auto", 2, "auto", "standardize"),
        (OWN, np.uint8, "auto", 2, "auto", "minmax"),  # pixels
        (OWN, np.bool_, "auto", 2, "auto", "minmax"),
        (OWN, np.int64, "auto", 1, "auto", "standardize"),  # of an earlier study
        (MLP, np.int64, "auto", 2, "auto", "standardize"),
    ],
)
def test_integers_are_left_raw_for_own_networks(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    space: dict[str, Any],
    dtype: Any,
    asked: Any,
    reading: int,
    scaling: str,
    used: str,
) -> None:
    monkeypatch.chdir(folder)
    x = np.random.default_rng(0).integers(0, 100, (60, 7)).astype(dtype)
    np.savez("x.npz", x=x, y=np.arange(60) % 2)
    seen: list[str] = []

    def check(spec: StudySpec, dataset: Any) -> None:
        seen.append(dataset.scaling.method)

    data = DataSpec(source="x.npz", scaling=asked, reading=reading)
    spec = define_study(make_space(**space), Wanted(data=data), load_settings(), check=check)
    assert (spec.data.scaling, seen) == (scaling, [used])
    again = StudySpec.from_json(spec.model_dump_json())
    assert load_dataset(again.data, load_settings()).fingerprint == spec.fingerprint


def test_images_of_integers_are_scaled_for_own_networks_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    np.savez("x.npz", x=np.arange(60 * 12).reshape(60, 3, 4), y=np.arange(60) % 2)
    spec = define_study(make_space(**OWN), Wanted(data=DataSpec(source="x.npz")), load_settings())
    assert spec.data.scaling == "auto"
