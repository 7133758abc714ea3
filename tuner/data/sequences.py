"""Texts and sequences: what they become, and what is said of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tuner.data.dataset import InputKind
from tuner.data.table_encoding import Table, TextRule
from tuner.errors import DatasetError
from tuner.preparation.encoding import Column
from tuner.preparation.text_words import split_words
from tuner.values import join_names

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import DataSpec


def text_rule(spec: "DataSpec") -> TextRule:
    """What the texts of a table become."""
    return TextRule(spec.text or "words", spec.vocabulary, spec.steps)


def kind_of_columns(columns: Sequence[Column] | None, source: str) -> tuple[InputKind, int]:
    """What a row of an encoded table is, and how many numbers its tokens may be. Raises
    DatasetError for tokens beside other columns, and for texts without a word."""
    columns = columns or ()
    tokens = [column for column in columns if column.is_tokens]
    if not tokens:
        return "", 0
    others = [column.name for column in columns if column is not tokens[0]]
    if others:
        raise DatasetError(
            f"{source}: tokens are made of one column of text alone, and {tokens[0].name!r} stands "
            f"beside {join_names(others)}; leave these out (--column NAME=drop), or give --text "
            "tf_idf with a network such as mlp"
        )
    return "tokens", tokens[0].vocabulary_size


def text_notes(train: Table, columns: Sequence[Column]) -> list[str]:
    """A line on each column of text that became tokens or weights of words: how long the texts of
    the training rows are, and what of them is known."""
    return [
        _text_note(train, column)
        for column in columns
        if column.kind == "text" and column.text_form != "words"
    ]


def _text_note(train: Table, column: Column) -> str:
    cells = train.column(column.name)
    known = set(column.categories or ())
    held = [split_words(text) for text in cells.texts]
    counts = cells.counts()
    lengths = np.repeat([len(words) for words in held], counts)
    if not lengths.any():
        return f"{column.name}: holds no words in the training rows"
    words = int(lengths.sum())
    seen = sum(n * sum(w in known for w in ws) for n, ws in zip(counts.tolist(), held, strict=True))
    line = (
        f"{column.name}: texts of {lengths.min()} to {lengths.max()} words, {np.median(lengths):g} "
        f"in the middle; the {len(known)} most common words are {100 * seen / words:.3g} % of all"
    )
    if column.is_tokens:
        longer = float(np.mean(lengths > column.steps))
        line += f"; cut at {column.steps} words" + (
            f" ({100 * longer:.2g} % are longer)" if longer else ""
        )
    return line
