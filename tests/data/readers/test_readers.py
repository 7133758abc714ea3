"""The table of formats: each is found by its ending, and a new one is one file and one line."""

from pathlib import Path

import pandas as pd
import pytest

from tuner.data import find_source, parse_source
from tuner.data.readers import (
    READERS,
    bundled,
    idx,
    image_folder,
    list_formats,
    read_source,
)
from tuner.data.readers.reader import Reader, Source, TableFile, table_reader
from tuner.errors import DatasetError
from tuner.settings import Settings
from tuner.study.spec import DataSpec

ENDINGS = [(reader, ending) for reader in READERS for ending in reader.endings]


@pytest.mark.parametrize(("reader", "ending"), ENDINGS)
def test_a_file_is_read_by_its_ending(reader: Reader, ending: str) -> None:
    for text in (f"some/a.b{ending}", f"some/a.b{ending.upper()}"):
        source = parse_source(text)
        assert (source.reader, source.name, source.selector) == (reader, "a.b", "")
        assert source.path == Path(text)
        assert parse_source(f"{text}:x:y").selector == "x:y"


def test_no_ending_has_two_readers() -> None:
    assert len(ENDINGS) == len({ending for _, ending in ENDINGS})


def test_folders_are_told_apart_by_what_they_hold(tmp_path: Path, settings: Settings) -> None:
    for reader in READERS:
        assert not reader.holds(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").touch()
    assert [reader for reader in READERS if reader.holds(tmp_path)] == [idx.READER]
    assert find_source(str(tmp_path), settings)[0].reader is idx.READER
    (tmp_path / "train-images-idx3-ubyte").rename(tmp_path / "a.png")
    assert [reader for reader in READERS if reader.holds(tmp_path)] == [image_folder.READER]
    assert find_source(str(tmp_path), settings)[0].reader is image_folder.READER


def test_messages_name_every_format() -> None:
    assert all(reader.example in list_formats() for reader in READERS)


def test_known_names_and_folders_have_readers(tmp_path: Path) -> None:
    assert parse_source("digits").reader is bundled.READER
    assert parse_source(str(tmp_path)).reader.is_folder
    assert parse_source("no_such_thing").reader.is_folder


def test_nothing_may_follow_what_selects_nothing(settings: Settings, tmp_path: Path) -> None:
    for text in (f"{tmp_path}:train", "a.npz:x"):
        with pytest.raises(DatasetError, match="nothing may follow"):
            read_source(parse_source(text), settings, DataSpec(source=text))


def _read_words(path: Path) -> TableFile:
    """A format of two columns, made up: a word and its length, a line each."""
    pairs = [line.split() for line in path.read_text().splitlines()]
    frame = pd.DataFrame({"word": [word for word, _ in pairs], "n": [int(n) for _, n in pairs]})
    return TableFile(frame, ("read as words",), "; it is a file of words")


def test_a_format_of_tables_is_one_function(settings: Settings, tmp_path: Path) -> None:
    reader = table_reader(".words", example="file.words:target", read_file=_read_words)
    path = tmp_path / "a.words"
    path.write_text("red 3\ngreen 5\n")
    source = Source(f"{path}:n", "a", reader, path, "n")
    raw = read_source(source, settings, DataSpec(source=source.text))
    assert raw.parts["train"].x.to_dict("list") == {"word": ["red", "green"]}
    assert raw.parts["train"].y.tolist() == [3, 5]
    assert raw.notes == ("read as words",)
    with pytest.raises(DatasetError, match=r"no column 'm'.*; it is a file of words"):
        read_source(Source("", "a", reader, path, "m"), settings, DataSpec(source="x"))
    path.write_text("red\n")
    with pytest.raises(DatasetError, match=r"a\.words: cannot be read"):
        read_source(source, settings, DataSpec(source=source.text))
