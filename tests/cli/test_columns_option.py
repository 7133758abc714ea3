"""What columns are taken for, shown and said on the command line."""

import json

import pytest

TEXTS = ("good one", "bad one", "so so")


@pytest.fixture
def table(tmp_path):
    """t.csv: id, town, power (with two '?'), when, note, ok."""
    rows = [
        f"n{i},{('Rome', 'Oslo')[i % 2]},{'?' if i in (7, 55) else 50 + i},2025-{1 + i % 12:02}-03,"
        f"{TEXTS[i % 3]} {i},{'ny'[i // 3 % 2]}\n"
        for i in range(120)
    ]
    (tmp_path / "t.csv").write_text("id,town,power,when,note,ok\n" + "".join(rows))
    return ["--column", "id=drop", "--column", "note=text"]


def test_describe_shows_what_each_column_was_taken_for(tuner, table):
    done = tuner("data", "describe", "t.csv:ok", *table)
    assert done.code == 0
    lines = done.out.splitlines()
    (head,) = (number for number, line in enumerate(lines) if line.startswith("column "))
    rows = {line.split()[0]: line.split()[1:5] for line in lines[head + 2 :] if line.strip()}
    assert rows["power"] == ["number", "1", "2", "118"]
    assert rows["town"] == ["category", "2", "0", "2"]
    assert rows["when"][0] == "date"
    assert rows["note"][0] == "text"
    assert rows["id"] == ["drop", "0", "–", "–"]
    assert rows["ok"][0] == "target"
    assert max(map(len, lines[head:])) <= 80
    assert "power: 2 of 120 cells hold '?' and count as missing numbers" in done.out
    facts = json.loads(tuner("data", "describe", "t.csv:ok", *table, "--json").out)
    power = next(column for column in facts["columns"] if column["name"] == "power")
    assert (power["kind"], power["features"], power["gaps"]) == ("number", 1, 2)
    assert (power["low"], power["high"]) == ("50", "169")


def test_wide_values_and_names_fit_80_columns(tuner, tmp_path):
    name, cell = "x" * 90, "long words " * 20
    rows = "".join(f"{cell},{i % 7},{i % 2}\n" for i in range(60))
    (tmp_path / "w.csv").write_text(f"{name},b,ok\n{rows}")
    out = tuner("data", "describe", "w.csv:ok").out
    table = out[out.index("\ncolumn ") :]
    assert max(map(len, table.splitlines())) <= 80


def test_a_study_is_created_shown_and_told_apart(tuner, table):
    done = tuner("study", "create", "s", "--data", "t.csv:ok", *table)
    assert (done.code, done.err) == (0, "")
    assert "columns: 1 number, 1 category (town 2), 1 text (note " in done.out
    assert ", 1 date (when); left out: id" in done.out
    assert "note: power: 2 of 120 cells hold '?'" in done.out
    again = "tuner data describe t.csv:ok --column id=drop --column note=text"
    assert again in done.out
    assert tuner(*again.split()[1:]).code == 0
    facts = json.loads(tuner("study", "show", "s", "--json").out)
    assert facts["columns"] == {"id": "drop", "note": "text"}
    same = tuner("study", "create", "s", "--data", "t.csv:ok", *table)
    assert "exists already, with this definition" in same.out
    other = tuner("study", "create", "s", "--data", "t.csv:ok", *table, "--column", "town=drop")
    assert other.code == 2
    assert "column 'town' was by its cells, is drop" in other.err


def test_columns_of_a_space_file(tuner, table, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "network: mlp\nparameters: {depth: 1}\ndata: t.csv\n"
        "columns: {id: drop, note: drop, ok: target}\n"
    )
    done = tuner("study", "create", "s", "--space", "./mine.yaml", "--column", "town=drop")
    assert (done.code, done.err) == (0, "")
    assert "left out: id, town, note" in done.out
    facts = json.loads(tuner("study", "show", "s", "--json").out)
    assert facts["columns"] == {"id": "drop", "note": "drop", "ok": "target", "town": "drop"}


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["column 'id' holds 120 different texts", "column 'note' holds 120 different texts"]),
        (["--column", "id=drp", "--column", "note"], ["one of drop, ", "NAME=KIND, got 'note'"]),
        (["--column", "idd=drop"], ["--column idd=drop: no such column; there are: id, "]),
        (["--column", "town=number"], ["120 of 120 cells are no numbers ('Oslo', 'Rome'; first"]),
        (["--column", "ok=drop"], ["--column ok=drop: it is the target"]),
        (["--column", "town=target"], ["several targets are named: ok, town; name one"]),
    ],
)
@pytest.mark.parametrize("command", [["data", "describe"], ["study", "create", "--data"]])
def test_mistakes_are_told_in_one_line(tuner, table, command, words, parts):
    done = tuner(*command, "t.csv:ok", *words)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    for part in parts:
        assert part in line


def test_compare_takes_columns_of_a_file_alone(tuner, table):
    done = tuner("compare", "--study", "s", "--column", "id=drop")
    assert done.code == 2
    assert "leave out --column, --weights, --scaling and --set" in done.err
    done = tuner("compare", "mnist", "--data", "t.csv:ok", "--column", "idd=drop")
    assert "--column idd=drop: no such column" in done.err
