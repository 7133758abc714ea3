"""A sample of rows as hashes: which later rows are among them."""

import numpy as np
import pytest

from tuner.preparation.row_sample import SIZE, RowSample, Seen, hash_rows

ROWS = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
NEW = np.random.default_rng(1).normal(size=(20_000, 3)).astype(np.float32)


def test_few_rows_are_all_known() -> None:
    sample = RowSample.of([ROWS[:100], ROWS[100:500]])
    assert sample.is_complete
    assert sample.compare(ROWS[400:600]) == Seen(200, 200, 100)
    assert RowSample.of([ROWS[:SIZE]]).is_complete
    assert not RowSample.of([ROWS[: SIZE + 1]]).is_complete


def test_of_many_rows_a_share_is_looked_up() -> None:
    sample = RowSample.of([ROWS[:7000], ROWS[7000:]])
    assert not sample.is_complete
    assert sample == RowSample.of([ROWS])
    assert sample.compare(ROWS) == Seen(20_000, SIZE, SIZE)
    unseen = sample.compare(NEW)
    assert unseen.seen == 0
    assert unseen.looked_up == pytest.approx(SIZE, rel=0.2)
    mixed = sample.compare(np.concatenate([ROWS[:5000], NEW[:5000]]))
    assert mixed.seen / mixed.looked_up == pytest.approx(0.5, abs=0.1)


def test_rows_are_shifted_as_they_were_for_training() -> None:
    offset = 1.6e9
    given = offset + np.arange(200.0)[:, np.newaxis]
    trained = (given - offset).astype(np.float32)
    sample = RowSample.of([trained], (offset,))
    assert sample.compare(given) == Seen(200, 200, 200)
    assert sample.compare(given + 200) == Seen(200, 200, 0)


def test_hashes_are_the_same_everywhere_and_of_all_number_types() -> None:
    """Files that were saved elsewhere, or before, hold them."""
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    assert hash_rows(images).tolist() == hash_rows(images.astype(np.float64)).tolist()
    assert hash_rows(np.array([[0.0], [-0.0]]))[0] == hash_rows(np.array([[-0.0], [1.0]]))[0]
    assert hash_rows(images)[1] == 1402285717663364551
