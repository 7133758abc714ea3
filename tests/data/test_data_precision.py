"""Large numbers that differ by little keep their order and their differences."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tuner.data import Dataset, describe_dataset, load_dataset, open_dataset, save_dataset
from tuner.data import rows as rows_module
from tuner.settings import Settings
from tuner.study.spec import DataSpec

Load = Callable[..., Dataset]
FEW = hypothesis_settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
N = 150
SECONDS = 1_700_000_000 + np.arange(1000)


@st.composite
def columns(draw: st.DrawFn) -> np.ndarray:
    """(N,) float64 around up to 1e15, with any spread that float64 resolves in many steps."""
    largest = 10.0 ** draw(st.floats(-3, 15))
    bits = draw(st.floats(-3, 40))
    draws = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from(["uniform", "normal", "steps", "skewed"]))
    values = {
        "uniform": draws.random(N),
        "normal": draws.normal(size=N) / 4,
        "steps": draws.integers(0, 12, N) / 11,
        "skewed": draws.exponential(size=N) / 5,
    }[shape]
    return np.asarray(draw(st.sampled_from([-1, 1])) * largest * (1 + values * 2.0**-bits))


def kept(raw: np.ndarray, scaled: np.ndarray, scale: float) -> None:
    """The scaled values (n,) have the raw ones' order, and their differences to 1e-6 of the
    spread."""
    order, spread = np.argsort(raw), np.ptp(raw)
    assert (np.diff(scaled[order]) >= 0).all()
    back = scaled.astype(np.float64) / scale
    resolved = np.spacing(np.abs(raw).max())  # what the raw values themselves are rounded by
    np.testing.assert_allclose(
        back - back[0], raw - raw[0], rtol=0, atol=1e-6 * spread + 2 * resolved
    )


def like_network(dataset: Dataset, raw: np.ndarray) -> None:
    """A saved network scales what it is given as the training did, to 1e-5."""
    given = raw if dataset.float64_inputs else raw.astype(np.float32)
    shift = 0.0 if dataset.shift is None else dataset.shift
    exact = (given.astype(np.float64) - shift).astype(np.float32)
    there = ~np.isnan(raw)
    scaled, trained = (dataset.scaling.apply(x)[there] for x in (exact, dataset.train.x))
    np.testing.assert_allclose(scaled, trained, rtol=0, atol=1e-5)


def write(path: Path, x: np.ndarray, y: np.ndarray) -> Path:
    np.savez(path, x_train=x, y_train=y, x_val=x, y_val=y, x_test=x, y_test=y)
    return path


@FEW
@given(columns(), st.sampled_from(["standardize", "minmax", "center"]), st.booleans())
def test_columns_of_matrices_and_series(
    settings: Settings, tmp_path: Path, column: np.ndarray, scaling: Any, large: bool
) -> None:
    small = np.random.default_rng(1).normal(size=N)
    holed = np.where(np.arange(N) == 3, np.nan, small)
    matrix, gaps = np.column_stack([column, small]), np.column_stack([column, holed])
    series = matrix.reshape(N // 5, 5, 2)
    with pytest.MonkeyPatch.context() as patch:
        if large:
            patch.setattr(rows_module, "IN_MEMORY_BYTES", 0)
            patch.setattr(rows_module, "_BLOCK_VALUES", 120)
        for x in (matrix, gaps, series):
            y = np.arange(len(x)) % 2
            spec = DataSpec(source=str(write(tmp_path / "c.npz", x, y)), scaling=scaling)
            dataset = load_dataset(spec, settings)
            save_dataset(dataset, tmp_path / "kept")
            opened = open_dataset(tmp_path / "kept")
            np.testing.assert_equal(opened.shift, dataset.shift)
            scale = opened.scaling.scale
            scaled = opened.scaling.apply(np.asarray(opened.train.x)).reshape(N, 2)
            like_network(opened, x)
            if scale.ndim:  # two channels that are alike share one scale
                kept(column, scaled[:, 0], float(scale[0]))


@FEW
@given(columns())
def test_columns_of_tables_and_targets(
    settings: Settings, tmp_path: Path, column: np.ndarray
) -> None:
    frame = pd.DataFrame({"t": column, "n": np.arange(N), "word": ["a", "b", "c"] * (N // 3)})
    frame["y"] = column
    frame.to_parquet(tmp_path / "t.parquet")
    dataset = load_dataset(
        DataSpec(source=f"{tmp_path / 't.parquet'}:y", task="regression"), settings
    )
    rows = dataset.train.x[:, 1].astype(np.float64)
    rows = np.rint(rows + (0 if dataset.shift is None else dataset.shift[1])).astype(int)
    scale = float(dataset.scaling.scale[0])
    kept(column[rows], dataset.scaling.apply(dataset.train.x)[:, 0], scale)
    target = dataset.target_scaling
    kept(column[rows], target.apply(dataset.train.y), float(target.scale))
    low = describe_dataset(dataset)["target"]["low"]
    assert low == pytest.approx(column[rows].min(), rel=1e-15, abs=1e-6 * np.ptp(column))


def test_what_is_rounded_little_stays_as_it_is(load: Load) -> None:
    for name in ("iris", "wine", "breast_cancer", "diabetes", "digits"):
        dataset = load(name)
        assert dataset.shift is None and dataset.target_shift == 0, name
        assert dataset.fingerprint == load(name, reading=1).fingerprint


def test_studies_of_before_and_raw_inputs_get_no_offset(load: Load, tmp_path: Path) -> None:
    pd.DataFrame({"t": SECONDS, "y": SECONDS + 0.5}).to_csv(tmp_path / "s.csv", index=False)
    source = f"{tmp_path / 's.csv'}:y"
    before = load(source, reading=1)
    assert (before.shift, before.target_shift, before.notes) == (None, 0.0, ())
    assert len(np.unique(before.train.x)) < 12
    raw = load(source, scaling="none")
    assert raw.shift is None
    assert re.search(r"column t: \d{3} different values become \d in float32", str(raw.notes))
    assert load(source).shift is not None


def test_the_fingerprint_knows_the_offset(load: Load, tmp_path: Path) -> None:
    seen = set()
    for later in (0, 2**20):
        x = (SECONDS + later).astype(np.float64)
        np.savez(tmp_path / f"{later}.npz", x=x, y=np.arange(1000) % 2)
        seen.add(load(tmp_path / f"{later}.npz").fingerprint)
    assert len(seen) == 2


HALF = np.concatenate([np.zeros(500), SECONDS[:500]])
IDS = 2**60 + np.arange(1000) * 3


@pytest.mark.parametrize(
    ("column", "note"),
    [
        (IDS, "different values become"),
        (HALF, "different values become"),
        (np.append(np.arange(999.0), 1e30), "a few extreme ones set the scale"),
        (np.append(np.arange(999.0), 1e8), "half of its values lie within"),
        (np.arange(1, 1001) * 1e-43, "different values become 1 in float32"),
    ],
    ids=["ids", "two clusters", "one outlier", "a far outlier", "denormals"],
)
def test_what_is_lost_all_the_same_is_noted(
    load: Load, tmp_path: Path, column: np.ndarray, note: str
) -> None:
    order = np.random.default_rng(0).permutation(1000)
    frame = pd.DataFrame({"t": column[order], "z": order * 1.0, "y": np.arange(1000) % 2})
    frame.to_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", x=column[order, np.newaxis], y=frame.y)
    table = load(f"{tmp_path / 't.parquet'}:y")
    assert [n for n in table.notes if n.startswith("column t: ") and note in n], table.notes
    matrix = load(write(tmp_path / "u.npz", column[order, np.newaxis], frame.y.to_numpy()))
    assert [n for n in matrix.notes if n.startswith("column 1: ") and note in n], matrix.notes
    if column is not IDS:
        target = load(f"{tmp_path / 't.parquet'}:t")
        assert [n for n in target.notes if n.startswith("the target: ") and note in n]


@pytest.mark.parametrize(
    "column",
    [
        np.random.default_rng(0).normal(size=5000),
        np.random.default_rng(0).lognormal(0, 1.5, size=5000),
        np.random.default_rng(0).integers(0, 2**31, 5000),
        np.random.default_rng(0).integers(0, 2, 5000) * 1e-3,
        np.where(np.arange(5000) % 100, 0.0, np.random.default_rng(0).random(5000)),
        np.full(5000, 1_700_000_001),
        np.full(5000, 0.1),
    ],
    ids=["normal", "lognormal", "whole", "two values", "mostly zero", "constant", "a tenth"],
)
def test_ordinary_columns_are_not_noted(load: Load, tmp_path: Path, column: np.ndarray) -> None:
    other = np.random.default_rng(1).random(5000)
    source = write(tmp_path / "o.npz", np.column_stack([column, other]), np.arange(5000) % 2)
    dataset = load(source)
    assert dataset.notes == ()
    assert np.isfinite(dataset.scaling.apply(dataset.train.x)).all()


def test_one_zero_among_seconds_changes_nothing(load: Load, tmp_path: Path) -> None:
    seconds = np.append(SECONDS[:-1], 0).astype(np.float64)
    dataset = load(write(tmp_path / "z.npz", seconds, np.arange(1000) % 2))
    assert len(np.unique(dataset.scaling.apply(dataset.train.x))) == 1000
