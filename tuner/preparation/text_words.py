"""Texts as words, vocabularies and numbers, by the rule of Keras' TextVectorization.

Keras' layer needs TensorFlow, and a saved network prepares its rows without it
(docs/decisions/preparing-data.md). A test compares the two.
"""

import math
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

PADDING, UNKNOWN = 0, 1  # numbers of tokens that are no words
SPECIAL_TOKENS = 2

# Capitals of ASCII alone become small, as with tf.strings.lower; marks are removed.
_PLAIN = str.maketrans(
    string.ascii_uppercase, string.ascii_lowercase, "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
)
_BLANKS = str.maketrans("\t\n\v\f\r", "     ")  # tf.strings.split knows no others


def split_words(text: str) -> list[str]:
    """The words of a text in order, in small letters and without punctuation."""
    plain = text.translate(_PLAIN)
    if plain.isascii() and plain.isprintable():
        return plain.split()
    return [word for word in plain.translate(_BLANKS).split(" ") if word]


def learn_vocabulary(
    texts: Iterable[str], counts: Iterable[int], most: int
) -> tuple[tuple[str, ...], tuple[int, ...], npt.NDArray[np.int64]]:
    """Of texts, each held by so many rows: the `most` most common words, the most common first, of
    equally common ones the last in the alphabet; in how many rows each is; and the words in each
    text, (texts,)."""
    held: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    lengths = []
    for text, count in zip(texts, counts, strict=True):
        words = split_words(text)
        lengths.append(len(words))
        for word, times in Counter(words).items():
            held[word] += times * count
            rows[word] += count
    ranked = sorted(held.items(), key=lambda item: (item[1], item[0].encode()), reverse=True)
    common = tuple(word for word, count in ranked[:most] if count)
    return common, tuple(rows[word] for word in common), np.array(lengths, np.int64)


def inverse_frequencies(rows_with_word: Sequence[int], rows: int) -> tuple[float, ...]:
    """The weight of each word, log(1 + rows / (1 + rows with the word)); before them their mean,
    for words that are not in the vocabulary."""
    weights = [math.log(1 + rows / (1 + count)) for count in rows_with_word]
    return (float(np.mean(weights)) if weights else 0.0, *weights)


def write_tokens(words: Mapping[str, int], text: str, row: npt.NDArray[np.floating]) -> None:
    """Write the numbers of a text's first words into a row of zeros. `words`: from 0, in the order
    of the vocabulary."""
    tokens = split_words(text)[: len(row)]
    row[: len(tokens)] = [words.get(word, -1) + SPECIAL_TOKENS for word in tokens]


def write_tf_idf(
    words: Mapping[str, int],
    weights: npt.NDArray[np.float64],
    text: str,
    row: npt.NDArray[np.floating],
) -> None:
    """Write how often a text holds each word, times the word's weight, divided by the length of
    this vector; first for all words that are not in the vocabulary."""
    counts = Counter(words.get(word, -1) + 1 for word in split_words(text))
    if counts:
        places = np.fromiter(counts.keys(), np.intp)
        values = np.fromiter(counts.values(), np.float64) * weights[places]
        row[places] = values / (np.sqrt(np.sum(values**2)) or 1.0)
