"""The data of a study, as a function that trains by itself is given them."""

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tuner.data import load_dataset, save_dataset
from tuner.functions.described_network import describe
from tuner.functions.trial_data import open_data
from tuner.preparation.keras_file import has_description
from tuner.settings import load_settings
from tuner.study.messages import FunctionCode, Goal, TrialRequest, WorkerSetup
from tuner.study.spec import DataSpec

ROWS = 60


@pytest.fixture
def setup(tmp_path: Path) -> WorkerSetup:
    draw = np.random.default_rng(0)
    x = draw.normal(100.0, 50.0, (ROWS, 3)).astype(np.float32)
    np.savez(tmp_path / "points.npz", x=x, y=np.arange(ROWS) % 2)
    spec = DataSpec(source=str(tmp_path / "points.npz"))
    save_dataset(load_dataset(spec, load_settings()), tmp_path / "data")
    return WorkerSetup(tmp_path / "data", code=FunctionCode("mine.py", "train", "", ()))


def test_a_function_gets_the_rows_as_they_are_but_for_the_test_split(setup: WorkerSetup) -> None:
    assert setup.data is not None
    data = open_data(setup.data)
    assert (data.task, data.labels, data.input_shape, data.outputs) == (
        "binary",
        ("0", "1"),
        (3,),
        1,
    )
    assert data.x_train.shape == (len(data.y_train), 3)
    assert len(data.y_train) + len(data.y_val) < ROWS
    assert data.x_train.mean() > 50  # scaled ones would be around 0
    assert set(data.y_val) == {0, 1}
    x, y = (np.load(setup.data.parent / "points.npz")[name] for name in "xy")
    seen = [(data.x_train, data.y_train), (data.x_val, data.y_val)]
    rows = [row for inputs, _ in seen for row in inputs.tolist()]
    numbers = [x.tolist().index(row) for row in rows]
    assert len(set(numbers)) == len(rows) < ROWS
    assert y[numbers].tolist() == [number for _, targets in seen for number in targets]


@pytest.mark.parametrize(("shape", "is_described"), [((None, 3), True), ((None, 4), False)])
def test_a_network_for_these_rows_is_described(
    setup: WorkerSetup, tmp_path: Path, shape: Any, is_described: bool
) -> None:
    file = tmp_path / "network.keras"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional"}))
    model = SimpleNamespace(input_shape=shape, output_shape=(None, 1))
    request = TrialRequest("mine.py:train", {}, 1, Goal("val_auc", "maximize"), number=3)
    describe(model, file, setup, request)
    assert has_description(file) == is_described
