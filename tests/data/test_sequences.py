"""Texts as tokens and weights, sequences of different lengths, arrays of tokens."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from tuner.data import Dataset, describe_dataset, preparation_of
from tuner.data.dataset_files import open_dataset, save_dataset
from tuner.data.preparing import network_inputs
from tuner.errors import DatasetError
from tuner.preparation.text_words import learn_vocabulary

Load = Callable[..., Dataset]

WORDS = [
    "the red fox runs far away, really", "A blue whale swims in the sea?", "the fox sees a whale!",
    "far away a red bird sings songs", "blue birds sing in the red sky", "the sea is blue and far",
]  # fmt: skip


def texts_file(folder: Path, **columns: object) -> Path:
    rows = [f"{WORDS[i % 6]} number{i}" for i in range(60)]
    table = pd.DataFrame({"body": rows, **columns, "kind": ["x", "y"] * 30})
    table.to_csv(folder / "texts.csv", index=False)
    return folder / "texts.csv"


def test_prose_becomes_tokens_in_the_order_of_its_words(load: Load, tmp_path: Path) -> None:
    path = texts_file(tmp_path)
    dataset = load(f"{path}:kind", text="tokens", steps=5, vocabulary=8)
    assert (dataset.input_kind, dataset.vocabulary_size, dataset.input_shape) == (
        "tokens",
        10,
        (5,),
    )
    (column,) = dataset.columns or ()
    known = ["", "?", *(column.categories or ())]
    table = pd.read_csv(path)
    prepared = preparation_of(dataset).prepare(table[["body"]]).inputs
    first = [known[int(number)] for number in prepared[0]]
    assert [word for word in first if word != "?"] == [
        word for word in ["the", "red", "fox", "runs", "far"] if word in known
    ]
    assert dataset.scaling.method == "none"
    assert describe_dataset(dataset)["steps"]["longest"] == 5


def test_tf_idf_is_that_of_scikit_learn_but_for_its_idf(load: Load, tmp_path: Path) -> None:
    path = texts_file(tmp_path)
    dataset = load(f"{path}:kind", text="tf_idf", vocabulary=500)
    texts = pd.read_csv(path)["body"]
    (column,) = dataset.columns or ()
    counts = TfidfVectorizer(
        vocabulary=column.categories, token_pattern=r"\S+", use_idf=False, norm=None
    )
    plain = texts.str.replace(r"[^\w\s]", "", regex=True)
    weighted = counts.fit_transform(plain).toarray() * np.array(column.idf)[1:]
    inputs = preparation_of(dataset).prepare(pd.DataFrame({"body": texts})).inputs
    known = inputs[:, 0] == 0  # rows without words that training has not seen
    weighted /= np.linalg.norm(weighted, axis=1, keepdims=True)
    np.testing.assert_allclose(inputs[known, 1:], weighted[known], rtol=1e-5, atol=1e-7)
    assert known.sum() > 30


def test_texts_that_cannot_be_tokens_are_refused(load: Load, tmp_path: Path) -> None:
    path = texts_file(tmp_path, size=range(60))
    with pytest.raises(DatasetError, match=r"one column of text alone.*beside size"):
        load(f"{path}:kind", text="tokens")
    blank = tmp_path / "blank.csv"
    pd.DataFrame({"body": ["?!"] * 60, "kind": ["x", "y"] * 30}).to_csv(blank, index=False)
    with pytest.raises(DatasetError, match="'body' holds no words"):
        load(f"{blank}:kind", text="tokens", columns={"body": "text"})


def test_a_text_counts_as_often_as_rows_hold_it() -> None:
    texts, counts = ["a a b", "b c", "c d d d", ""], [3, 5, 2, 1]
    repeated = [text for text, count in zip(texts, counts, strict=True) for _ in range(count)]
    words, rows, lengths = learn_vocabulary(texts, counts, 3)
    assert (words, rows) == learn_vocabulary(repeated, [1] * len(repeated), 3)[:2]
    assert dict(zip(words, rows, strict=True)) == {"b": 8, "c": 7, "d": 2}
    assert lengths.tolist() == [3, 2, 4, 0]


def test_what_is_said_of_texts_counts_rows(load: Load, tmp_path: Path) -> None:
    rows = ["a b c d e", "a b c d e f"] * 60
    pd.DataFrame({"body": rows, "kind": ["x", "y"] * 60}).to_csv(tmp_path / "t.csv", index=False)
    dataset = load(f"{tmp_path / 't.csv'}:kind", text="tokens", steps=5, columns={"body": "text"})
    (note,) = [note for note in dataset.notes if note.startswith("body: texts")]
    assert "texts of 5 to 6 words" in note
    share = 100 * np.mean(dataset.train.y == 1)  # those of kind y have six
    assert f"cut at 5 words ({share:.2g} % are longer)" in note


def sequences(count: int = 60, channels: int = 2) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.normal(5, 2, (n, channels)) for n in draw.integers(1, 9, count)]


def save_with_lengths(path: Path, rows: list[np.ndarray]) -> None:
    padded = np.full((len(rows), 8, 2), 99.0)  # what stands behind the end does not count
    for row, held in zip(padded, rows, strict=True):
        row[: len(held)] = held
    lengths = np.array([len(held) for held in rows])
    np.savez(path, x=padded, lengths=lengths, y=np.arange(len(rows)) % 2)


def test_lengths_of_an_archive_and_lists_in_parquet_are_the_same(
    load: Load, tmp_path: Path
) -> None:
    rows = sequences()
    save_with_lengths(tmp_path / "a.npz", rows)
    table = pd.DataFrame({"u": [r[:, 0] for r in rows], "v": [r[:, 1] for r in rows]})
    table["kind"] = np.arange(60) % 2
    table.to_parquet(tmp_path / "a.parquet")
    archive, lists = load(tmp_path / "a.npz"), load(f"{tmp_path / 'a.parquet'}:kind")
    assert archive.fingerprint == lists.fingerprint
    assert (archive.input_kind, archive.input_shape) == ("sequence", (8, 3))
    prepared = preparation_of(lists).prepare(table[["v", "u"]]).inputs
    np.testing.assert_array_equal(prepared, preparation_of(archive).prepare(rows).inputs)


def test_scaling_is_learnt_from_the_steps_that_are_there(load: Load, tmp_path: Path) -> None:
    save_with_lengths(tmp_path / "a.npz", sequences())
    dataset = load(tmp_path / "a.npz")
    scaled = dataset.scaling.apply(np.asarray(dataset.train.x))
    present = scaled[..., 2] == 1
    np.testing.assert_allclose(scaled[present][:, :2].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled[present][:, :2].std(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(scaled[~present], 0, atol=1e-6)
    save_dataset(dataset, tmp_path / "kept")
    kept = open_dataset(tmp_path / "kept")
    assert (kept.padding, kept.input_kind) == (dataset.padding, "sequence")
    rows = network_inputs(kept, np.asarray(kept.train.x))
    assert preparation_of(kept).prepare(list(rows[present.sum(1) > 0, :, :2])).inputs.shape[1:] == (
        8, 3,
    )  # fmt: skip


def test_longer_sequences_are_cut(load: Load, tmp_path: Path) -> None:
    save_with_lengths(tmp_path / "a.npz", sequences())
    dataset = load(tmp_path / "a.npz", steps=3)
    assert dataset.input_shape == (3, 3)
    lengths = [len(held) for held in sequences()]
    cut = sum(length > 3 for length in lengths)
    assert any(f"; {cut} longer ones are cut" in note for note in dataset.notes)
    again = preparation_of(dataset).prepare(sequences()).inputs
    assert again[..., -1].sum(axis=1).tolist() == [min(length, 3) for length in lengths]
    facts = describe_dataset(dataset)["steps"]
    assert (facts["shortest"], facts["longest"], facts["of"]) == (1, 3, 3)


def test_later_sequences_of_another_form_are_refused_or_taken(load: Load, tmp_path: Path) -> None:
    save_with_lengths(tmp_path / "a.npz", sequences())
    preparation = preparation_of(load(tmp_path / "a.npz"))
    empty = preparation.prepare([np.empty((0, 2)), np.ones((4, 2))]).inputs
    assert empty[..., -1].sum(axis=1).tolist() == [0, 4]
    for channels in (1, 3):
        with pytest.raises(DatasetError, match=f"{channels} channels, the network takes 2"):
            preparation.prepare([np.ones((2, channels)), np.ones((4, channels))])
    (tmp_path / "one.py").write_text(
        "def load():\n    return [[1.0] * (1 + n % 3) for n in range(60)], [0, 1] * 30\n"
    )
    one = preparation_of(load(f"{tmp_path / 'one.py'}:load"))
    flat = one.prepare(np.ones((2, 2))).inputs  # rows of numbers, one channel
    assert flat.shape == (2, 3, 2)
    assert flat[..., -1].sum(axis=1).tolist() == [2, 2]


@pytest.mark.parametrize("lengths", [[9, 1], [-1, 1], [1], [[1, 1]], [1.0, 1.0]])
def test_lengths_that_do_not_fit_are_refused(
    load: Load, tmp_path: Path, lengths: list[object]
) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((2, 8, 2)), lengths=lengths, y=[0, 1])
    with pytest.raises(DatasetError, match=r"a\.npz.*: lengths must"):
        load(tmp_path / "a.npz")


def test_arrays_are_what_kind_says(load: Load, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    numbers = draw.integers(0, 20, (60, 7))
    np.savez(tmp_path / "a.npz", x=numbers, y=np.arange(60) % 2)
    tokens = load(tmp_path / "a.npz", kind="tokens")
    assert (tokens.vocabulary_size, tokens.scaling.method) == (20, "none")
    steps = load(tmp_path / "a.npz", kind="sequence")
    assert (steps.input_shape, steps.input_kind) == ((7, 1), "sequence")
    with pytest.raises(DatasetError, match="the network knows the numbers 0 to 19"):
        preparation_of(tokens).prepare(np.full((1, 7), 20))
    assert load(tmp_path / "a.npz", kind="tokens", vocabulary=20).vocabulary_size == 20
    with pytest.raises(DatasetError, match=r"holds the token 19, .* give --vocabulary 20"):
        load(tmp_path / "a.npz", kind="tokens", vocabulary=19)
    np.savez(tmp_path / "b.npz", x=draw.random((60, 7)), y=np.arange(60) % 2)
    with pytest.raises(DatasetError, match="tokens are whole numbers from 0"):
        load(tmp_path / "b.npz", kind="tokens")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[[1.0, 2.0]], [[1.0], [2.0]]], "row 2 has steps of shape"),
        ([[], [[]]], "all sequences are empty"),
        ([[1.0], [1.0, float("nan")]], "row 2 holds NaN"),
    ],
)
def test_sequences_that_do_not_fit_are_refused(
    load: Load, tmp_path: Path, rows: list[object], message: str
) -> None:
    (tmp_path / "mine.py").write_text(
        f"nan = float('nan')\ndef load():\n    return {rows!r}, [0, 1]\n"
    )
    with pytest.raises(DatasetError, match=message):
        load(f"{tmp_path / 'mine.py'}:load")
