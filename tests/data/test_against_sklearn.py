"""Gaps, categories, words, scaling and splits give what scikit-learn gives."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

from tuner.data.columns import read_column
from tuner.data.dataset import draw_splits
from tuner.data.scaling import fill_gaps, fit_scaling, learn_gaps
from tuner.data.table_encoding import Column, Table, TableRows, learn_columns

DRAW = np.random.default_rng(11)
MATRIX = (DRAW.normal(size=(301, 5)) * [1, 10, 0.01, 5, 0] + [0, 100, -3, 7, 2]).astype(np.float32)


def encode(values: "pd.Series[str]") -> tuple[Column, np.ndarray]:
    """One column of a table, learnt and encoded."""
    read = read_column(values)
    table = Table({read.name: read.cells})
    columns = learn_columns(table, [read])
    return columns[0], np.asarray(TableRows(table, columns))


@pytest.mark.parametrize("rows", [300, 301])
def test_gaps_take_the_median(rows: int) -> None:
    holed = MATRIX[:rows].astype(np.float64)
    holed[DRAW.random(holed.shape) < 0.2] = np.nan
    holed[:, 4] = np.nan
    columns = learn_gaps(holed, tuple("abcde"))
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    expected = imputer.fit_transform(holed)
    np.testing.assert_array_equal([column.fill for column in columns], imputer.statistics_)
    np.testing.assert_array_equal(np.asarray(fill_gaps(holed, columns)), expected.astype("f4"))


@pytest.mark.parametrize("by_columns", [True, False])
def test_standardising(by_columns: bool) -> None:
    ours = fit_scaling(MATRIX, "standardize", by_columns=by_columns)
    theirs = StandardScaler().fit(MATRIX.astype(np.float64))
    np.testing.assert_allclose(ours.scale, 1 / theirs.scale_, rtol=1e-6)
    np.testing.assert_allclose(ours.offset, -theirs.mean_ / theirs.scale_, rtol=1e-5)


def test_scaling_to_a_range() -> None:
    ours = fit_scaling(MATRIX, "minmax")
    theirs = MinMaxScaler().fit(MATRIX.astype(np.float64))
    np.testing.assert_allclose(ours.scale, theirs.scale_, rtol=1e-6)
    np.testing.assert_allclose(ours.offset, theirs.min_, rtol=1e-5, atol=1e-6)


def test_categories_are_one_hot() -> None:
    words = pd.Series(DRAW.choice(["red", "Green", "blue", "ä"], 60), name="colour")
    column, ours = encode(words)
    theirs = OneHotEncoder(sparse_output=False, dtype=np.float32)
    np.testing.assert_array_equal(ours, theirs.fit_transform(words.to_numpy()[:, np.newaxis]))
    assert column.categories == tuple(theirs.categories_[0])


def test_texts_are_the_words_that_they_hold() -> None:
    texts = pd.Series([f"A word, number {i}: {'xyz'[i % 3]} É" for i in range(40)], name="text")
    read = read_column(texts, "text")
    table = Table({"text": read.cells})
    columns = learn_columns(table, [read])
    theirs = CountVectorizer(token_pattern=r"\w+", binary=True, dtype=np.float32)
    np.testing.assert_array_equal(
        np.asarray(TableRows(table, columns)), theirs.fit_transform(texts).toarray()
    )
    assert columns[0].categories == tuple(theirs.get_feature_names_out())


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(5, 60), min_size=2, max_size=6), st.floats(0.1, 0.6))
def test_splits_are_as_large_and_as_balanced(sizes: list[int], share: float) -> None:
    classes = np.repeat(np.arange(len(sizes)), sizes)
    labels = tuple(map(str, range(len(sizes))))
    ours = draw_splits(classes, {"test": share}, 0, labels, "data")
    count = max(len(sizes), round(share * len(classes)))
    splitter = StratifiedShuffleSplit(1, test_size=count, random_state=0)
    _, theirs = next(splitter.split(classes[:, np.newaxis], classes))
    assert abs(len(ours["test"]) - len(theirs)) <= len(sizes)
    members, expected = (
        np.bincount(classes[r], minlength=len(sizes)) for r in (ours["test"], theirs)
    )
    assert np.abs(members - expected).max() <= 1
