"""Images changed while they are trained on: what changes, how often, and when it is the same."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from scipy import stats
from tensorflow_helpers import make_dataset, make_request, on_disk, outcome, train

from tuner.data import Dataset, Split
from tuner.training.engines.feeds import ResidentFeed
from tuner.training.ops.augmentation import Augmentation
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

EXERCISES = {
    "augment_flip": "test_half_of_the_rows_are_flipped",
    "augment_shift": "test_each_shift_is_as_likely_as_another",
}

ROWS, HEIGHT, WIDTH = 4000, 7, 9


def images(channels: int | None = None, dtype: Any = np.uint8) -> np.ndarray:
    """The same image in each row: no two pixels alike, none of them zero."""
    shape = (HEIGHT, WIDTH) if channels is None else (HEIGHT, WIDTH, channels)
    image = np.arange(1, np.prod(shape) + 1).reshape(shape)
    return np.broadcast_to(image, (ROWS, *shape)).astype(dtype)


def augmented(x: np.ndarray, seed: int = 1, steps: int = 0, **params: Any) -> np.ndarray:
    """The rows as the step after `steps` others trains on them."""
    most, flips = float(params.get("augment_shift", 0)), params.get("augment_flip", False)
    at = tf.constant(seed, tf.uint32), tf.constant(steps, tf.uint32)
    changed = Augmentation(most > 0, flips)(
        tf.constant(x), tf.constant(most), tf.constant(0.5), *at
    )
    assert changed.dtype == x.dtype
    return np.asarray(changed)


def moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """An image moved by hand."""
    result = np.zeros_like(image)
    height, width = image.shape[:2]
    for row in range(height):
        for column in range(width):
            if 0 <= row + down < height and 0 <= column + right < width:
                result[row + down, column + right] = image[row, column]
    return result


def offsets(x: np.ndarray, changed: np.ndarray, most: int) -> np.ndarray:
    """By how much each row was moved down and right (rows, 2)."""
    offsets_by_image = {
        moved(x[0], down, right).tobytes(): (down, right)
        for down in range(-most, most + 1)
        for right in range(-most, most + 1)
    }
    return np.array([offsets_by_image[row.tobytes()] for row in changed])


def plausible(p_value: float) -> bool:
    return 1e-4 < p_value < 1 - 1e-4


def test_half_of_the_rows_are_flipped() -> None:
    x = images()
    changed = augmented(x, augment_flip=True)
    flipped = (changed == x[:, :, ::-1]).all((1, 2))
    assert (flipped | (changed == x).all((1, 2))).all()
    assert abs(flipped.mean() - 0.5) < 4 * 0.5 / np.sqrt(ROWS)
    alike = (flipped[1:] == flipped[:-1]).mean()  # neither all rows alike nor in turns
    assert abs(alike - 0.5) < 4 * 0.5 / np.sqrt(ROWS)


@pytest.mark.parametrize("most", [1, 3])
def test_each_shift_is_as_likely_as_another(most: int) -> None:
    x = images()
    moves = offsets(x, augmented(x, augment_shift=most), most)
    side = 2 * most + 1
    pairs = (moves + most) @ np.array([side, 1])
    counts = np.bincount(pairs, minlength=side**2)
    assert plausible(stats.chisquare(counts).pvalue)  # of the two directions together
    assert plausible(stats.chisquare(np.bincount(moves[1:, 0] - moves[:-1, 0] + 2 * most),
        (ROWS - 1) * np.convolve(np.ones(side), np.ones(side)) / side**2).pvalue)  # fmt: skip


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_channels_move_together(channels: int, dtype: Any) -> None:
    x = images(channels, dtype)
    assert len(np.unique(offsets(x, augmented(x, augment_shift=1), 1), axis=0)) == 9
    changed = augmented(x, augment_flip=True)
    assert {row.tobytes() for row in changed} == {x[0].tobytes(), x[0, :, ::-1].tobytes()}


def test_shifts_wider_than_the_image_leave_zeros() -> None:
    x = images()
    changed = augmented(x, augment_shift=64)
    empty = (changed == 0).all((1, 2))
    inside = (2 * HEIGHT - 1) * (2 * WIDTH - 1) / 129**2
    assert abs((~empty).mean() - inside) < 4 * np.sqrt(inside / ROWS)


def test_flips_and_shifts_are_independent_and_all_their_own() -> None:
    x = images()
    both = augmented(x, augment_flip=True, augment_shift=1)
    flipped = (augmented(x, augment_flip=True) != x).any((1, 2))
    shifts = offsets(x, augmented(x, augment_shift=1), 1)
    for row in range(0, ROWS, 97):
        image = x[row, :, ::-1] if flipped[row] else x[row]
        np.testing.assert_array_equal(both[row], moved(image, *shifts[row]))
    for axis in (0, 1):
        assert abs(np.corrcoef(flipped, shifts[:, axis])[0, 1]) < 4 / np.sqrt(ROWS)


def test_each_step_and_seed_has_its_own_and_the_same_again() -> None:
    x, params = images(), {"augment_shift": 2, "augment_flip": True}
    first = augmented(x, **params)
    np.testing.assert_array_equal(augmented(x, **params), first)
    for other in ({"steps": 1}, {"steps": 2}, {"seed": 2}):
        alike = (augmented(x, **other, **params) == first).all((1, 2)).mean()
        assert alike == pytest.approx(1 / 50, abs=4 * np.sqrt(1 / 50 / ROWS))


def test_nothing_changes_where_nothing_is_asked_for() -> None:
    x = images()
    np.testing.assert_array_equal(augmented(x, augment_flip=False, augment_shift=0), x)


def one_step_losses(images_: Dataset, **params: Any) -> dict[str, float]:
    request = make_request(learning_rate=1e-30, batch_size=75, **params)
    return train(Trainer(images_), request)[0][0].metrics


def test_training_sees_changed_images_and_validation_does_not() -> None:
    dataset = make_dataset(images=True)
    plain = one_step_losses(dataset)
    for params in ({"augment_flip": True}, {"augment_shift": 1}):
        values = one_step_losses(dataset, **params)
        assert values["val_loss"] == plain["val_loss"]
        assert values["loss"] != pytest.approx(plain["loss"], rel=1e-3)
    # Images that look the same from both sides, and such that a shift leaves empty.
    mirrored = np.concatenate([dataset.train.x, dataset.train.x[:, :, ::-1]], axis=2)
    same = replace(dataset, train=Split(mirrored, dataset.train.y), validation=Split(
        mirrored[:33], dataset.train.y[:33]))  # fmt: skip
    assert one_step_losses(same, augment_flip=True) == one_step_losses(same)


@pytest.mark.usefixtures("xla")
def test_it_is_repeatable_and_the_same_in_all_feeds(tmp_path: Path) -> None:
    dataset = make_dataset(images=True)
    changed: Any = {"augment_flip": True, "epochs": 2, "dropout": 0.2, "engine": "keras"}
    request = make_request(augment_shift=1, **changed)
    trainer = Trainer(dataset)
    first = outcome(trainer, request)
    outcome(trainer, make_request(augment_shift=2, **changed))
    assert outcome(trainer, request) == first
    feed = trainer.prepare(request)[1]
    assert isinstance(feed, ResidentFeed)
    assert feed._loop.experimental_get_tracing_count() == 1
    streamed = train(Trainer(on_disk(dataset, tmp_path), budget_bytes=0), request)[0]
    for interval, metrics in zip(streamed, first[0], strict=True):
        assert interval.metrics == pytest.approx(metrics, rel=1e-5)
