"""Sequences of different lengths in MLflow: the model takes them without padding, as people have
them. No TensorFlow: the network is a fake."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_raw_rows import load, write

from tuner.data import Dataset
from tuner.data.load import load_dataset
from tuner.settings import load_settings
from tuner.study.spec import DataSpec


def make_sequences(folder: Path, form: str) -> str:
    """120 sequences of 1 to 6 steps of 2 channels; their source."""
    draw = np.random.default_rng(0)
    lengths, y = draw.integers(1, 7, 120), np.arange(120) % 2
    x = draw.normal(size=(120, 6, 2))
    if form == "npz":
        np.savez(folder / "s.npz", x=x, y=y, lengths=lengths)
        return str(folder / "s.npz")
    cells = {
        name: [row[:k, channel].tolist() for row, k in zip(x, lengths, strict=True)]
        for channel, name in enumerate(("east", "north"))
    }
    pd.DataFrame(cells | {"y": y}).to_parquet(folder / "s.parquet")
    return f"{folder / 's.parquet'}:y"


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_model_of_sequences_takes_them_without_padding(tmp_path: Path, form: str) -> None:
    dataset: Dataset = load_dataset(
        DataSpec(source=make_sequences(tmp_path, form)), load_settings()
    )
    assert dataset.input_shape == (6, 3)  # with the channel that marks padding
    model = load(write(tmp_path / "model", dataset))
    example = model.metadata.load_input_example(str(tmp_path / "model"))
    if form == "npz":
        assert example.ndim == 3 and example.shape[2] == 2
        rows = np.ones((2, 4, 2), np.float32)
    else:
        assert list(example.columns) == ["east", "north"]
        rows = pd.DataFrame({"east": [[1.0], [1.0, 2.0]], "north": [[2.0], [0.0, 1.0]]})
    assert len(model.predict(example)) == 1
    assert len(model.predict(rows)) == 2
