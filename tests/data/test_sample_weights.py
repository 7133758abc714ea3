"""Sample weights: where they come from, what is refused, where they go."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tuner.data import Dataset, describe_dataset, load_dataset, open_dataset, save_dataset
from tuner.errors import DatasetError
from tuner.settings import load_settings
from tuner.study.spec import DataSpec

ROWS = 40


def load(source: object, weights: str | None = "trust", **changes: Any) -> Dataset:
    spec = DataSpec(source=str(source), weights=weights, **changes)
    return load_dataset(spec, load_settings())


def frame(**columns: Any) -> pd.DataFrame:
    """`age` numbers the rows, `trust` is twice that: they show where each row's weight went."""
    rows = np.arange(ROWS)
    own = {"age": rows, "trust": 2 * rows, "ill": np.where(rows % 3, "no", "yes")}
    return pd.DataFrame(own | columns)


def write(path: Path, **columns: Any) -> str:
    frame(**columns).to_csv(path, index=False)
    return f"{path}:ill"


def check_rows(dataset: Dataset) -> None:
    """Each row that can be trained on has its own weight, and no input holds it."""
    assert dataset.features == ("age",)
    for split in (dataset.train, dataset.validation):
        assert split.weights is not None
        assert split.weights.dtype == np.float32
        shift = 0.0 if dataset.shift is None else dataset.shift
        np.testing.assert_array_equal(split.weights, 2 * (split.x[:, 0] + shift))
    assert dataset.test.weights is None


def test_a_column_of_a_file(tmp_path: Path) -> None:
    dataset = load(write(tmp_path / "a.csv"))
    check_rows(dataset)
    joined = dataset.for_test()
    assert joined.train.weights is not None
    np.testing.assert_array_equal(joined.train.weights, 2 * joined.train.x[:, 0])
    facts = describe_dataset(dataset)["weights"]
    assert facts["low"] == dataset.train.weights.min()  # type: ignore[union-attr]
    assert facts["zeros"] == np.count_nonzero(dataset.train.weights == 0)


def test_a_column_of_numbers_as_texts(tmp_path: Path) -> None:
    texts = [f"{2 * row},0" for row in range(ROWS)]
    check_rows(load(write(tmp_path / "a.csv", trust=texts)))


def test_a_column_of_a_load_function(tmp_path: Path) -> None:
    file = tmp_path / "load.py"
    frame().to_parquet(tmp_path / "a.parquet")
    file.write_text(
        "import pandas as pd\n"
        f"table = pd.read_parquet({str(tmp_path / 'a.parquet')!r})\n"
        "y = table.pop('ill')\n"
        "def pair(): return table, y\n"
        "def parts():\n"
        "    return (table, y), (table.drop(columns='trust')[:9], y[:9])\n"
        "def key(): return {'x': table[['age']], 'y': y, 'trust': table['trust']}\n"
    )
    for function in ("pair", "parts", "key"):
        check_rows(load(f"{file}:{function}"))


def arrays(**more: Any) -> dict[str, Any]:
    x = np.arange(2.0 * ROWS).reshape(ROWS, 2)
    return {"x": x, "y": np.arange(ROWS) % 2, "trust": x[:, 0] + 1, **more}


def test_an_array_of_an_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays())
    dataset = load(tmp_path / "a.npz")
    for split in (dataset.train, dataset.validation):
        assert split.weights is not None
        np.testing.assert_array_equal(split.weights, split.x[:, 0] + 1)
    assert not any("trust" in note for note in dataset.notes)


@pytest.mark.parametrize("given", ["trust", "trust_train"])
def test_arrays_of_the_parts_of_an_archive(tmp_path: Path, given: str) -> None:
    whole = arrays()
    parts = {f"{name}_train": whole[name][:30] for name in ("x", "y")}
    parts |= {f"{name}_val": whole[name][30:] for name in ("x", "y")}
    np.savez(tmp_path / "a.npz", **parts, **{given: whole["trust"][:30]})
    with pytest.raises(DatasetError, match="holds x_val without 'trust_val'"):
        load(tmp_path / "a.npz", given)
    np.savez(tmp_path / "a.npz", **parts, **{given: whole["trust"][:30]}, trust_val=np.ones(10))
    dataset = load(tmp_path / "a.npz", given)
    assert dataset.train.weights is not None
    np.testing.assert_array_equal(dataset.train.weights, dataset.train.x[:, 0] + 1)
    np.testing.assert_array_equal(dataset.validation.weights, np.ones(10))


@pytest.mark.parametrize(
    ("trust", "message"),
    [
        ([1.0] * 16 + [None] + [1.0] * 23, "is missing in 1 row (first: row 17)"),
        ([1.0] * 16 + [np.inf] + [1.0] * 23, "is infinite in 1 row (first: row 17)"),
        ([1.0] * 16 + [-1] * 24, "is negative in 24 rows (first: row 17)"),
        ([1.0] * 16 + [1e39] + [1.0] * 23, "is beyond float32 in 1 row (first: row 17)"),
        (["1"] * 16 + ["much"] + ["1"] * 23, "1 of 40 cells are none ('much'; first in row 17)"),
        ([0] * 40, "all are 0; nothing would be learnt"),
        (["2024-01-01"] * 40, "must be numbers"),
        ([None] * 40, "is missing in 40 rows (first: row 1)"),
    ],
)
def test_weights_that_cannot_be_are_refused(tmp_path: Path, trust: Any, message: str) -> None:
    with pytest.raises(DatasetError) as refusal:
        load(write(tmp_path / "a.csv", trust=trust))
    assert str(refusal.value).startswith(f"{tmp_path / 'a.csv'}:ill: weights 'trust'")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "Trust"}, "no such column (did you mean 'trust'?); it has age, trust"),
        ({"weights": "ill"}, "is the target; name another column"),
        ({"columns": {"trust": "drop"}}, "--column cannot name the column of weights too"),
    ],
)
def test_columns_that_cannot_be_weights_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError) as refusal:
        load(write(tmp_path / "a.csv"), **changes)
    assert message in str(refusal.value)


def test_data_without_weights_say_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="digits: weights 'trust': these data have none"):
        load("digits")
    np.savez(tmp_path / "a.npz", **arrays())
    with pytest.raises(DatasetError, match=r"no such array \(did you mean 'trust'\?\); it holds x"):
        load(tmp_path / "a.npz", "Trust")
    with pytest.raises(DatasetError, match="weights 'y' is an array of inputs or targets"):
        load(tmp_path / "a.npz", "y")
    np.savez(tmp_path / "a.npz", **arrays(trust=np.ones(3)))
    with pytest.raises(DatasetError, match=r"weights 'trust' of train: 3 for 40 rows"):
        load(tmp_path / "a.npz")


def test_training_rows_of_weight_zero_alone_are_refused(tmp_path: Path) -> None:
    whole = arrays()
    split = {f"{name}_{part}": whole[name] for name in ("x", "y") for part in ("train", "val")}
    np.savez(tmp_path / "a.npz", **split, trust=np.zeros(ROWS), trust_val=np.ones(ROWS))
    with pytest.raises(DatasetError, match="all are 0; nothing would be learnt"):
        load(tmp_path / "a.npz")


def test_only_weights_change_the_fingerprint(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays())
    without, with_weights = (load(tmp_path / "a.npz", name) for name in (None, "trust"))
    np.savez(tmp_path / "a.npz", **arrays(trust=np.ones(ROWS)))
    assert load(tmp_path / "a.npz", None).fingerprint == without.fingerprint
    assert load(tmp_path / "a.npz").fingerprint not in (
        without.fingerprint,
        with_weights.fingerprint,
    )


def test_prepared_data_keep_their_weights(tmp_path: Path) -> None:
    dataset = load(write(tmp_path / "a.csv"))
    for number, kept in enumerate((dataset, dataset.for_test())):
        folder = tmp_path / str(number)
        save_dataset(kept, folder)
        opened = open_dataset(folder)
        for part in ("train", "validation"):
            ours, theirs = getattr(opened, part).weights, getattr(kept, part).weights
            np.testing.assert_array_equal(ours, theirs)
        assert opened.nbytes == kept.nbytes
    plain = replace(dataset, train=replace(dataset.train, weights=None))
    save_dataset(plain, tmp_path / "plain")
    assert open_dataset(tmp_path / "plain").train.weights is None
