"""Texts and padded sequences, against Keras' own layers."""

import numpy as np
import pytest

from tuner.preparation.padding import fill_padding, pad_sequences
from tuner.preparation.text_words import (
    inverse_frequencies,
    learn_vocabulary,
    write_tf_idf,
    write_tokens,
)

pytestmark = pytest.mark.tensorflow

TEXTS = [
    "The cat sat on the mat.", "the CAT, the hat!", "É cole ÀB\u00a0C", "a\u2003b  c", "",
    "tab\tnew\nline\rx\x0by\x0cz", "...", "don't stop (now) [UNK] unk", "ünï Ünï İstanbul",
    "a\x1cb\x1db\x85c", "mat mat hat sat 10 10 3.5",
]  # fmt: skip


@pytest.mark.parametrize("mode", ["int", "tf_idf"])
def test_texts_become_what_text_vectorization_makes_of_them(mode: str) -> None:
    import keras

    most, steps = 12, 6
    special = 2 if mode == "int" else 1
    layer = keras.layers.TextVectorization(
        max_tokens=most + special,
        output_mode=mode,
        output_sequence_length=steps if mode == "int" else None,
    )
    layer.adapt(np.array(TEXTS, object))
    words, rows, _ = learn_vocabulary(TEXTS, [1] * len(TEXTS), most)
    assert list(words) == layer.get_vocabulary()[special:]
    numbers = {word: number for number, word in enumerate(words)}
    weights = np.array(inverse_frequencies(rows, len(TEXTS)))
    mine = np.zeros((len(TEXTS), steps if mode == "int" else most + 1))
    for text, row in zip(TEXTS, mine, strict=True):
        if mode == "int":
            write_tokens(numbers, text, row)
        else:
            write_tf_idf(numbers, weights, text, row)
    theirs = np.asarray(layer(np.array(TEXTS, object)))
    if mode == "tf_idf":  # ours are divided by the length of the row
        lengths = np.linalg.norm(theirs, axis=1, keepdims=True)
        theirs = theirs / np.where(lengths == 0, 1, lengths)
    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing() -> None:
    import keras

    from tuner.networks.masking import mask_padding

    draw = np.random.default_rng(0)
    rows = [draw.normal(3, 1, (n, 2)) for n in (2, 5, 3)]
    recurrent = keras.layers.GRU(4)
    outputs = []
    for steps in (5, 9):
        inputs = keras.Input((steps, 3))
        model = keras.Model(inputs, recurrent(mask_padding(inputs)))
        # What stands at a padded step does not count, however far from 0 it is.
        padded = fill_padding(pad_sequences(rows, steps, 2), (0.3, -7.0)).astype(np.float32)
        outputs.append(model.predict_on_batch(padded))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-6)
    alone = keras.Input((2, 3))
    one = fill_padding(pad_sequences(rows[:1], 2, 2), (0.0, 0.0)).astype(np.float32)
    np.testing.assert_allclose(
        keras.Model(alone, recurrent(mask_padding(alone))).predict_on_batch(one)[0],
        outputs[1][0],
        rtol=1e-5,
    )


@pytest.mark.parametrize("padded", [True, False])
def test_the_mean_of_steps_is_that_of_keras_and_0_without_steps(padded: bool) -> None:
    import keras

    from tuner.networks.masking import average_steps, mask_padding
    from tuner.networks.step_rows import StepRows

    rows = np.array([[3, 1, 0], [2, 0, 0], [0, 0, 0]], np.float32)  # 0 is padding
    if padded:
        rows = np.stack([rows, rows > 0], axis=-1).astype(np.float32)
    inputs = keras.Input(rows.shape[1:])
    words = keras.layers.Embedding(4, 5, mask_zero=True)
    hidden = keras.layers.GRU(2, return_sequences=True)(
        mask_padding(inputs) if padded else words(inputs)
    )
    mean = average_steps(hidden, inputs, StepRows(0 if padded else 4, padded))
    theirs = keras.layers.GlobalAveragePooling1D()(hidden)
    mine, of_keras = keras.Model(inputs, [mean, theirs]).predict_on_batch(rows)
    np.testing.assert_allclose(mine[:2], of_keras[:2], rtol=1e-5)
    assert mine[2].tolist() == [0, 0]
