"""What outputs mean: labels with their probabilities, and in which blocks they are computed."""

import numpy as np
import pytest

from tuner.preparation import predictions
from tuner.preparation.predictions import Head, network_outputs, predict_columns

LABELS = ("a", "b", "c")
HEAD = Head("", "classes", LABELS)
SHARES = np.array([[0.4, 0.4, 0.2], [0.1, 0.3, 0.6]])


def test_of_equally_probable_labels_the_first_is_predicted() -> None:
    columns = predict_columns(SHARES, [HEAD])
    assert columns["prediction"].tolist() == ["a", "c"]
    np.testing.assert_array_equal([columns[f"probability_{label}"] for label in LABELS], SHARES.T)
    ranked = predict_columns(SHARES, [HEAD], top=3)
    assert [ranked[f"label_{k}"].tolist() for k in (1, 2, 3)] == [
        ["a", "c"],
        ["b", "b"],
        ["c", "a"],
    ]
    assert ranked["probability_3"].tolist() == [0.2, 0.1]


class Recorder:
    """A network that gives each row its first value."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
        self.sizes.append(len(x))
        return x.reshape(len(x), -1)[:, :1]


@pytest.mark.parametrize(("shape", "at_once"), [((2,), 7), ((5, 5), 4)])
def test_few_values_are_computed_at_once(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], at_once: int
) -> None:
    monkeypatch.setattr(predictions, "_ROWS_AT_ONCE", 7)
    monkeypatch.setattr(predictions, "_VALUES_AT_ONCE", 100)
    network, inputs = Recorder(), np.arange(20.0 * np.prod(shape)).reshape(20, *shape)
    outputs = network_outputs(network, inputs)
    np.testing.assert_array_equal(outputs[:, 0], inputs.reshape(20, -1)[:, 0])
    assert max(network.sizes) == at_once
