"""A saved network knows the rows of its training and validation splits, as they are read later."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tuner.data import load_dataset
from tuner.data.later_rows import open_rows
from tuner.data.preparing import describe_network
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.row_sample import Seen
from tuner.settings import Settings
from tuner.study.messages import StudyOrigin
from tuner.study.spec import DataSpec

ROWS = 200


def describe(source: str, settings: Settings) -> NetworkDescription:
    dataset = load_dataset(DataSpec(source=source), settings)
    description = describe_network(dataset, "val_accuracy", StudyOrigin("s", "u"), 0, {})
    # As it comes back from a file.
    return NetworkDescription.from_json(description.to_json(), source)


def seen_of(network: NetworkDescription, source: str, settings: Settings) -> Seen:
    later = open_rows(source, network.preparation, settings, network.task, network.labels)
    assert network.seen is not None
    seen = Seen()
    for block in later.blocks():
        seen += network.seen.compare(network.preparation.prepare(block.rows).inputs)
    return seen


def table() -> pd.DataFrame:
    """With gaps, categories, and times of which float32 would keep minutes only."""
    draw = np.random.default_rng(0)
    size = draw.normal(size=ROWS).round(3)
    size[::9] = np.nan
    return pd.DataFrame(
        {
            "at": 1_700_000_000 + draw.permutation(ROWS),
            "size": size,
            "city": draw.choice(["Bonn", "Rome", "Oslo"], ROWS),
            "kind": draw.choice(["a", "b"], ROWS),
        }
    )


def write_table(folder: Path) -> tuple[str, str]:
    file, other = folder / "rows.csv", folder / "new.csv"
    table().to_csv(file, index=False)
    table().assign(at=lambda rows: rows["at"] + ROWS).to_csv(other, index=False)
    return f"{file}:kind", str(other)


def write_images(folder: Path) -> tuple[str, str]:
    def save(name: str, seed: int) -> str:
        draw = np.random.default_rng(seed)
        arrays: dict[str, Any] = {"x": draw.integers(0, 256, (ROWS, 4, 4), dtype=np.uint8)}
        np.savez(folder / name, **arrays, y=draw.integers(0, 2, ROWS))
        return str(folder / name)

    return save("rows.npz", 1), save("new.npz", 2)


@pytest.mark.parametrize("write", [write_table, write_images])
def test_rows_that_were_seen_are_known(tmp_path: Path, settings: Settings, write: Any) -> None:
    file, other = write(tmp_path)
    network = describe(file, settings)
    # 70 % of the rows for training, 15 % for validation; the test rows stay unknown.
    assert seen_of(network, file, settings) == Seen(ROWS, ROWS, round(0.85 * ROWS))
    assert seen_of(network, other, settings).seen == 0
