"""Targets that are written as texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tuner.data import Dataset
from tuner.errors import DatasetError

Load = Callable[..., Dataset]
N = 120


def load_target(load: Load, folder: Path, y: list[str], **options: Any) -> Dataset:
    frame = pd.DataFrame({"x": np.sin(np.arange(len(y))), "y": y})
    frame.to_csv(folder / "t.csv", index=False)
    return load(f"{folder / 't.csv'}:y", **options)


def repeated(*texts: str) -> list[str]:
    return [texts[i % len(texts)] for i in range(N)]


def numbers(form: str = "{}") -> list[str]:
    return [form.format(1000 + 37 * i) for i in range(N)]


@pytest.mark.parametrize(
    "labels",
    [
        ("None", "Mild", "Severe"), ("NA", "EU", "null"), ("?", "a"), ("nan", "inf"),
        ("001", "002"), ("$1", "$2"), ("5 kg", "7 g"), ("1", "2", "x"), ("yes", "no"),
    ],
)  # fmt: skip
def test_labels_are_the_texts(load: Load, tmp_path: Path, labels: tuple[str, ...]) -> None:
    assert load_target(load, tmp_path, repeated(*labels)).labels == tuple(sorted(labels))


@pytest.mark.parametrize(
    ("form", "note"),
    [
        ("${:,}", "the target: '1,000' is read as 1000, its comma as a thousands mark"),
        ("{} %", "the target: texts such as '1000 %' are read as numbers"),
        ("{}.5 km", "are read as numbers"),
    ],
)
def test_numbers_in_another_writing(load: Load, tmp_path: Path, form: str, note: str) -> None:
    dataset = load_target(load, tmp_path, numbers(form))
    assert dataset.task == "regression"
    assert any(note in each for each in dataset.notes)
    half = 0.5 if "." in form else 0.0
    values = np.concatenate([split.y for split in dataset.splits.values()])
    values = np.sort(values.astype(np.float64) + dataset.target_shift)
    np.testing.assert_allclose(values, 1000 + 37 * np.arange(N) + half)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (
            [*numbers()[:-2], "?", "?"],
            {},
            "118 of 120 cells are numbers, 2 hold no number ('?'; first in row 119)",
        ),
        ([*numbers()[:-1], "NA"], {"task": "regression"}, "1 hold no number ('NA'; first in row"),
        ([*numbers()[:-1], "broken"], {}, "119 of 120 cells are numbers, 1 are not ('broken'"),
        (repeated("1", "2", "3", "NA"), {}, "30 hold no number ('NA'; first in row 4)"),
        (repeated("1", "x"), {"task": "regression"}, "60 of 120 cells are numbers, 60 are not"),
        (repeated("a", "b"), {"task": "regression"}, "regression needs a target of numbers"),
        ([f"2025-01-{1 + i % 28:02}" for i in range(N)], {}, "it holds dates; give a number"),
        (["", *numbers()[1:]], {}, "is missing in 1 row (first: row 1)"),
        (["1,234", "1500", *numbers("{:,}")], {}, "may part thousands or be a decimal comma"),
    ],
)
def test_targets_that_are_refused(
    load: Load, tmp_path: Path, y: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError) as caught:
        load_target(load, tmp_path, y, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_of_classes_takes_each_text(load: Load, tmp_path: Path) -> None:
    dataset = load_target(load, tmp_path, repeated("1", "2", "3", "NA"), task="classes")
    assert dataset.labels == ("1", "2", "3", "NA")


def test_a_column_of_dates_of_a_parquet_file(load: Load, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.sin(np.arange(N)), "y": pd.date_range("2025-01-01", periods=N)})
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DatasetError, match="the target must be text or numbers, it holds dates"):
        load(f"{tmp_path / 't.parquet'}:y")


@pytest.mark.parametrize("task", [None, "classes"])
def test_classes_that_differ_in_capitals_are_noted(
    load: Load, tmp_path: Path, task: str | None
) -> None:
    dataset = load_target(load, tmp_path, repeated("Yes", "yes", "No"), task=task)
    assert dataset.labels == ("No", "Yes", "yes")
    note = "the target: 'Yes', 'yes' differ in capitals alone and are different classes"
    assert note in dataset.notes


@pytest.mark.parametrize("value", [[1, 0], {"a": 1}, b"yes"])
def test_objects_are_no_classes(load: Load, tmp_path: Path, value: Any) -> None:
    other = value * 2 if not isinstance(value, dict) else {"a": 2}
    frame = pd.DataFrame({"x": np.sin(np.arange(N)), "y": [value, other] * (N // 2)})
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DatasetError, match="the target must be text or numbers, it holds "):
        load(f"{tmp_path / 't.parquet'}:y")
