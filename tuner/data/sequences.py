"""Texts and sequences: what they become, and what is said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tuner.data.dataset import InputKind
from tuner.data.precision import Wide, find_offsets
from tuner.data.raw import FIRST_READING, Raw
from tuner.data.rows import AnyRows, ChangedRows, Features, Rows, row_blocks
from tuner.data.scaling import IDENTITY, Scaling, fit_scaling
from tuner.data.table_encoding import Table, TextRule
from tuner.errors import DatasetError
from tuner.preparation.encoding import Column
from tuner.preparation.padding import (
    as_sequences,
    check_sequences,
    fill_padding,
    pad_sequences,
    pad_tokens,
    rows_of_columns,
)
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
    texts = [c for c in columns if c.kind == "text" and c.text_form != "words"]
    if empty := [column.name for column in texts if not column.categories]:
        raise DatasetError(
            f"{source}: {join_names(map(repr, empty))} holds no words in the training rows; leave "
            f"it out: --column {empty[0]}=drop"
        )
    tokens = [column for column in columns if column.is_tokens]
    if not tokens:
        return "", 0
    others = [column.name for column in columns if column is not tokens[0]]
    if others:
        raise DatasetError(
            f"{source}: tokens are made of one column of text alone, and {tokens[0].name!r} stands "
            f"beside {join_names(others)}; leave these out (--column NAME=drop), take --text "
            "tf_idf, or for a network of your own name inputs in the space's file"
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
    vocabulary = set(column.categories or ())
    words_of_texts = [split_words(text) for text in cells.texts]
    counts = cells.counts()
    lengths = np.repeat([len(words) for words in words_of_texts], counts)
    if not lengths.any():
        return f"{column.name}: holds no words in the training rows"
    words = int(lengths.sum())
    seen = sum(
        n * sum(w in vocabulary for w in ws)
        for n, ws in zip(counts.tolist(), words_of_texts, strict=True)
    )
    line = (
        f"{column.name}: texts of {lengths.min()} to {lengths.max()} words, {np.median(lengths):g} "
        f"in the middle; the {len(vocabulary)} most common words are "
        f"{100 * seen / words:.3g} % of all"
    )
    if column.is_tokens:
        longer = float(np.mean(lengths > column.steps))
        line += f"; cut at {column.steps} words"
        line += f" ({100 * longer:.2g} % are longer)" if longer else ""
    return line


def with_padded_sequences(raw: Raw, spec: "DataSpec") -> tuple[Raw, bool]:
    """The data with sequences of different lengths padded to one, and whether they are sequences of
    channels, whose padding is NaN (padding.py). Columns of a table that hold a sequence in each
    cell are its channels. Padded data have one note, on the lengths. Raises DatasetError for
    sequences that do not fit together."""
    if spec.reading == FIRST_READING:
        return raw, False
    frames = {part: pair.x for part, pair in raw.parts.items() if hasattr(pair.x, "iloc")}
    names = _sequence_columns(frames["train"]) if "train" in frames else ()
    parts = dict(raw.parts)
    if names:
        parts = {p: pair._replace(x=rows_of_columns(pair.x, names)) for p, pair in parts.items()}
        raw = replace(raw, features=names, has_channels=True)
    always = bool(names) or spec.kind is not None
    sequences = {part: as_sequences(pair.x, always) for part, pair in parts.items()}
    held = {part: rows for part, rows in sequences.items() if rows is not None}
    if not held:
        return raw, False
    if len(held) < len(parts):
        held = {
            part: rows if rows is not None else list(np.asarray(parts[part].x))
            for part, rows in sequences.items()
        }
    channels = {check_sequences(rows, f"{raw.source}: x ({part})") for part, rows in held.items()}
    if len(channels) > 1:
        raise DatasetError(f"{raw.source}: the parts have sequences of different channels")
    steps = spec.steps or max(map(len, held["train"]))
    padded: Mapping[str, Any]
    if spec.kind == "tokens":
        padded = {part: pad_tokens(rows, steps) for part, rows in held.items()}
    else:
        width = channels.pop()
        padded = {part: pad_sequences(rows, steps, width) for part, rows in held.items()}
    parts = {part: pair._replace(x=padded[part]) for part, pair in parts.items()}
    raw = replace(raw, parts=parts, notes=(_length_note(held["train"], steps),))
    return raw, spec.kind != "tokens"


def _length_note(sequences: Sequence[Features], steps: int) -> str:
    lengths = np.array([len(sequence) for sequence in sequences])
    share = 1 - float(np.minimum(lengths, steps).mean()) / steps
    cut = int((lengths > steps).sum())
    return (
        f"x is sequences of {lengths.min()} to {lengths.max()} steps, {np.median(lengths):g} in "
        f"the middle, padded to {steps}: {100 * share:.2g} % is padding"
        + (f"; {cut} longer ones are cut" if cut else "")
        + ("; --steps N cuts the longest" if share > _MUCH_PADDING and not cut else "")
    )


_MUCH_PADDING = 0.5


def _sequence_columns(frame: Any) -> tuple[str, ...]:
    """The columns of a table whose cells are all sequences; () if any column holds others."""
    names = []
    for name in frame.columns:
        cells = frame[name]
        first = cells.iloc[0] if len(cells) else None
        if not isinstance(first, (list, tuple, np.ndarray)):
            return ()
        names.append(str(name))
    return tuple(names)


class PaddedSequences(NamedTuple):
    """Sequences as training takes them: float32 rows of each part, their scaling, the value of each
    channel at a padded step, and what was subtracted from each channel; None for nothing."""

    parts: dict[str, Rows]
    scaling: Scaling
    padding: tuple[float, ...]
    shift: Wide | None


def encode_padded(parts: Mapping[str, AnyRows], method: str, exact: bool) -> PaddedSequences:
    """`parts`: as `pad_sequences` makes them. What is learnt comes from the steps of the training
    rows that are there, so padding changes nothing. `exact`: subtract what float32 would lose."""
    train = np.concatenate([_present(block) for block in row_blocks(parts["train"])])
    shift = find_offsets(train, by_channel=False) if exact else None
    subtracted = np.zeros(train.shape[1]) if shift is None else shift
    padding = tuple(map(float, train.mean(axis=0)))
    scaling = _with_mark(
        fit_scaling((train - subtracted).astype(np.float32), method, by_columns=True)
    )

    def encode(block: Features) -> Features:
        filled = fill_padding(block, padding) - [*subtracted, 0.0]
        return filled.astype(np.float32)

    rows: dict[str, Rows] = {
        part: ChangedRows(x, encode, np.dtype(np.float32)) for part, x in parts.items()
    }
    return PaddedSequences(rows, scaling, padding, None if shift is None else np.append(shift, 0.0))


def _present(block: Features) -> npt.NDArray[np.float64]:
    """The steps (k, channels) that are there."""
    return np.asarray(block[..., :-1][block[..., -1] > 0])


def _with_mark(scaling: Scaling) -> Scaling:
    """The scaling of channels, with that of the channel that marks the steps."""
    if scaling is IDENTITY:
        return scaling
    return replace(
        scaling,
        scale=np.append(scaling.scale, np.float32(1)),
        offset=np.append(scaling.offset, np.float32(0)),
    )


def as_kind(
    x: Mapping[str, Any], spec: "DataSpec", source: str
) -> tuple[dict[str, Any], "DataSpec"]:
    """Arrays as the rows that the spec says they are: sequences of numbers get an axis of one
    channel, and tokens are not scaled. Raises DatasetError for arrays that cannot be that."""
    arrays = dict(x)
    if hasattr(arrays["train"], "iloc"):
        raise DatasetError(
            f"{source}: --kind is of arrays, and these data are a table; a column of text is "
            "--column NAME=text"
        )
    shape = arrays["train"].shape[1:]
    if spec.kind == "sequence" and len(shape) == 1:
        return {
            part: ChangedRows(rows, lambda block: block[..., np.newaxis], rows.dtype, (*shape, 1))
            for part, rows in arrays.items()
        }, spec
    if spec.kind == "sequence" and len(shape) != 2:
        raise DatasetError(
            f"{source}: a row of kind sequence has two axes, (steps, channels); these have shape "
            f"{shape}"
        )
    if spec.kind == "tokens":
        count_tokens(arrays, spec.vocabulary, source)
        spec = spec.model_copy(update={"scaling": "none"})
    return arrays, spec


def count_tokens(x: Mapping[str, AnyRows], vocabulary: int | None, source: str) -> int:
    """How many numbers of words there may be. Raises DatasetError for rows of another shape, and
    for anything but whole numbers from 0, below `vocabulary` where it is given."""
    largest = 0
    for part, rows in x.items():
        what = f"{source}: x ({part})"
        if rows.ndim != 2:
            raise DatasetError(f"{what}: a row of tokens has one axis, these have {rows.shape[1:]}")
        for block in row_blocks(rows):
            if (block != np.trunc(block)).any() or (block < 0).any():
                raise DatasetError(f"{what}: tokens are whole numbers from 0, these are not")
            largest = max(largest, int(block.max(initial=0)))
    if vocabulary is not None and largest >= vocabulary:
        raise DatasetError(
            f"{source}: holds the token {largest}, and a vocabulary of {vocabulary} ends at "
            f"{vocabulary - 1}; give --vocabulary {largest + 1}"
        )
    return vocabulary or largest + 1
