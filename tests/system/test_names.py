"""Names: what is accepted for a study, and what is made of files' names."""

import re
import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.errors import StudyError
from tuner.manage.creation import default_name
from tuner.manage.wanted_study import Wanted, data_spec
from tuner.system.names import (
    as_file_name,
    check_experiment,
    check_name,
    in_command,
    is_valid,
    make_name,
    printable,
)

ODD = [
    "", ".", "..", "../..", "/tmp/x", "-x", "--yes", ".hidden", "my study", "größe", "a/b", "a\\b",
    "a:b", "a*", "a'b", 'a"b', "$HOME", "`id`", "a;b", "a\nb", "a\n", "evil\x1b[2J", "a\0b",
    "a\x85b", "x" * 129, "名" * 100, "a\u202eb", "٣",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_an_odd_name_is_refused_in_one_line_that_prints(name: str) -> None:
    with pytest.raises(StudyError) as refused:
        check_name(name)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


def test_the_message_names_the_character() -> None:
    with pytest.raises(StudyError, match=r"it holds ö \(U\+00F6\)"):
        check_name("größe")
    with pytest.raises(StudyError, match=r"it holds the character U\+001B"):
        check_name("evil\x1b[2J")
    with pytest.raises(StudyError, match="it begins with -"):
        check_name("-x")
    with pytest.raises(StudyError, match="it has 129 characters"):
        check_name("x" * 129)


@given(st.text(max_size=140))
def test_a_valid_name_is_a_safe_folder_and_argument(name: str) -> None:
    folder = as_file_name(name, "0" * 32)
    assert is_valid(folder)
    assert (Path("/base") / folder).resolve().parent == Path("/base")
    assert len(folder.encode()) <= 128
    assert shlex.split(in_command(name)) == [in_command(name)]
    if is_valid(name):
        check_name(name)
        assert (folder, in_command(name)) == (name, name)
    else:
        assert in_command(name) == "STUDY"


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_made_names_are_valid_and_leave_room_for_a_number(words: list[str]) -> None:
    check_name(make_name(*words))
    check_name(f"{make_name(*words)}-1000000")


@given(st.text(alphabet="数据表格", min_size=1), st.text(alphabet="数据表格", min_size=1))
def test_names_that_lose_their_letters_stay_different(one: str, other: str) -> None:
    assert (make_name("mlp", one) == make_name("mlp", other)) == (one == other)


def test_long_names_that_begin_alike_stay_different() -> None:
    names = {make_name("compare", "x" * 128, f"trial{number}") for number in range(20)}
    assert len(names) == 20


@pytest.mark.parametrize(
    ("space", "source", "name"),
    [
        ("mlp", "fashion_mnist", "mlp-fashion_mnist"),
        ("./my.space.yaml", "data/points.v2.csv:y", "my-space-points"),
        ("./.hidden.yaml", "x.npz", "hidden-x"),
        ("mlp", "größe ö.csv:preis", "mlp-grosse-o"),
        ("mlp", "folder/", "mlp-folder"),
    ],
)
def test_default_names(space: str, source: str, name: str) -> None:
    assert default_name(Wanted(space=space, data=data_spec(source=source))) == name


def test_the_default_name_of_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path / "images")
    assert default_name(Wanted(data=data_spec(source="."))) == "mlp-images"


@settings(deadline=None)
@given(st.text(max_size=20).map(lambda text: f"mlp-{text}.csv:target"))
def test_every_file_has_a_default_name(source: str) -> None:
    check_name(default_name(Wanted(data=data_spec(source=source.replace("\0", "")))))


@pytest.mark.parametrize("name", ["", "  ", "x" * 501, "a\x1b[2J", "a\nb", "a\u202eb"], ids=ascii)
def test_experiments_that_mlflow_cannot_hold_or_show(name: str) -> None:
    with pytest.raises(StudyError, match="MLflow experiment") as refused:
        check_experiment(name)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["ours", "größe / 2026: a 'b' \"c\"", "x" * 256])
def test_experiments_have_more_freedom(name: str) -> None:
    check_experiment(name)


@given(st.text())
def test_what_is_shown_prints(name: str) -> None:
    assert printable(name).isprintable()
    assert re.fullmatch(r"[ -~]*", name) is None or printable(name) == name
