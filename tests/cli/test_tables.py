"""Tables fit the terminal, and show every value whole."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from tuner.cli.live_display import Picture
from tuner.cli.output import say, show_facts, stream_rows
from tuner.cli.result_output import _attempt_cells
from tuner.cli.terminal_tables import Layout, TableColumn, wrapped_words
from tuner.reports.study_tables import trial_cells
from tuner.runner.progress import RunStatus, WorkerStatus
from tuner.study.ends import TrialEnd
from tuner.study.messages import WorkerPlace

NAMES = st.from_regex(r"[a-z]{1,8}(_[a-z]{1,8}){0,3}", fullmatch=True)
CELLS = st.one_of(
    st.from_regex(r"[0-9.]{1,9}", fullmatch=True),
    st.text("abc_é名 ", max_size=90).map(str.strip),
    st.sampled_from(["", "–", "/a/long/path/of/a/file" * 5]),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[TableColumn], list[dict[str, str]]]:
    names = draw(st.lists(NAMES, min_size=1, max_size=15, unique=True))
    columns = [TableColumn(name, draw(st.booleans())) for name in names]
    rows = st.fixed_dictionaries(dict.fromkeys(names, CELLS))
    return columns, draw(st.lists(rows, min_size=1, max_size=3))


def letters(text: str) -> Counter[str]:
    return Counter("".join(text.split()))


@settings(max_examples=80, deadline=None)
@given(tables(), st.integers(20, 160), st.sampled_from([None, 1, 5]))
def test_no_line_is_too_long_and_nothing_is_left_out(
    table: tuple[list[TableColumn], list[dict[str, str]]], width: int, lead: int | None
) -> None:
    columns, rows = table
    # The widths are decided by the first rows alone.
    layout = Layout(columns, rows[:1], width, lead)
    assert all(cell_len(line) <= width for line in layout.head())
    for row in rows:
        lines = layout.lines(row)
        assert all(cell_len(line) <= width for line in lines)
        folded = [f"{column.name}=" for column in layout._folded if row[column.name]]
        assert letters("".join(lines)) == letters("".join([*row.values(), *folded]))


@settings(max_examples=50, deadline=None)
@given(tables())
def test_in_a_pipe_a_row_is_a_line(table: tuple[list[TableColumn], list[dict[str, str]]]) -> None:
    columns, rows = table
    layout = Layout(columns, rows, None)
    for row in rows:
        (line,) = layout.lines(row)
        assert all(value in line for value in row.values())


@given(st.text("ab名 -,=\xa0", max_size=300), st.integers(30, 100), st.integers(0, 20))
def test_words_are_wrapped_within_the_width(text: str, width: int, indent: int) -> None:
    first, *others = wrapped_words(text, width, indent).split("\n")
    assert cell_len(first) <= width - indent
    margin = " " * (indent if first else min(indent, 4))
    assert all(cell_len(line) <= width and line.startswith(margin) for line in others)
    assert letters(" ".join([first, *others])) == letters(text)


@pytest.fixture
def at_width(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_width(columns: int) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)

    return set_width


VARYING = [f"a_parameter_{n}" for n in range(15)]
ROW = {
    "trial": 7, "state": "pruned", "end": "worker_lost", "score": 0.5, "epochs": 27,
    "seconds": 12.5, "params": {name: 1 / (n + 3) for n, name in enumerate(VARYING)},
}  # fmt: skip


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_fifteen_parameters(
    columns: int, at_width: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    at_width(columns)
    params = ROW["params"] | {VARYING[3]: "a choice of many words and more " * 4}
    stream_rows(
        [trial_cells(ROW | {"params": params}, VARYING)] * 3, names=VARYING, lead=len(ROW) - 2
    )
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    assert "worker_lost" in out
    assert "…" not in out
    for name in VARYING:
        assert out.count(f"{name}=") == 3


def test_few_parameters_have_a_column_each(
    at_width: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    at_width(80)
    params = {"label_smoothing": 0.0512, "width": 128, "layers": [64, 32]}
    stream_rows([trial_cells(ROW | {"params": params}, list(params))], names=list(params))
    _, head, *_, row, _ = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "trial",
        "state",
        "score",
        "epochs",
        "seconds",
        "label_smoothing",
        "width",
        "layers",
    ]
    assert row.split() == ["7", "worker_lost", "0.5000", "27", "12.5", "0.0512", "128", "64", "32"]


@pytest.mark.parametrize(
    ("state", "end", "shown"),
    [
        ("complete", "early_stopped", "early_stopped"),
        ("pruned", "pruned", "pruned"),
        ("pruned", "out_of_memory", "out_of_memory"),
        ("fail", "user_error", "user_error"),
        ("fail", None, "fail"),
        ("waiting", None, "waiting"),
        ("waiting", "interrupted", "waiting (interrupted)"),
        ("running", None, "running"),
    ],
)
def test_state_and_end_are_one_column(state: str, end: str | None, shown: str) -> None:
    cells = trial_cells(ROW | {"state": state, "end": end}, [])
    assert cells["state"] == shown
    assert "end" not in cells


def test_a_searched_parameter_may_be_named_like_a_column() -> None:
    cells = trial_cells(ROW | {"params": {"epochs": 30}}, ["epochs"])
    assert (cells["epochs"], cells["epochs_param"]) == (27, 30)


def test_facts_are_broken_between_words(at_width: Any, capsys: pytest.CaptureFixture[str]) -> None:
    at_width(80)
    params = {name: [64, 32] for name in VARYING}
    show_facts({"best_params": params, "varies": VARYING}, False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for name in VARYING:
        assert f"{name}=64 32" in text
    assert all(line.startswith(("best params  ", "varies  ", " " * 13)) for line in lines)


def test_a_long_word_stands_below_its_name(
    at_width: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    at_width(80)
    show_facts({"mlflow_experiment": "x" * 70, "params": {"a": "many words " * 10, "b": 1}}, False)
    first, second, *others = capsys.readouterr().out.splitlines()
    assert (first.strip(), second) == ("mlflow experiment", "    " + "x" * 70)
    assert others[0].startswith("params             a=many words many words")
    assert others[-1].endswith("b=1")


def test_a_command_is_kept_whole(at_width: Any, capsys: pytest.CaptureFixture[str]) -> None:
    at_width(60)
    command = "tuner trial list a-long-name-of-a-study --best-first --all"
    say(f"\n150 more than fit, and some words about that; all: {command}")
    say(f"  {command}   does what is told here")
    say("a sentence of so many words that it needs two lines in a terminal")
    assert capsys.readouterr().out.splitlines() == [
        "",
        "150 more than fit, and some words about that; all:",
        f"  {command}",
        f"  {command}",
        "        does what is told here",
        "a sentence of so many words that it needs two lines in a",
        "terminal",
    ]


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_live_display_names_the_machines(width: int) -> None:
    status = RunStatus(10, 1, workers=[WorkerStatus(n, 3, 27, 0.5) for n in range(3)])
    for worker, node in enumerate(["6c414144aa", "6c414144aa", "8720332abb"]):
        status.show_place(worker, WorkerPlace("rack-1", node))
    console = Console(width=width, height=30, color_system=None, force_terminal=True)
    lines = [
        "".join(segment.text for segment in line)
        for line in console.render_lines(Picture(status, "val_accuracy"), pad=False)
    ]
    assert max(map(cell_len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "3 workers on 2 nodes" in text
    assert text.count("on rack-1/6c414144") == 2
    assert "worker 2 on rack-1/8720332a trial 2" in text
    status.show_place(2, None)
    assert status.places_text == "2 workers on 1 node"


def test_attempts_here_and_elsewhere_are_one_table() -> None:
    row = {"attempt": 1, "worker": 0, "end": "complete"}
    here, there = row | {"host": None, "node": None}, row | {"host": "rack-1", "node": "6c414144aa"}
    assert [list(cells) for cells in _attempt_cells([here])] == [["attempt", "worker", "end"]]
    both = _attempt_cells([here, there])
    assert [cells["trained_on"] for cells in both] == [None, "rack-1/6c414144"]
    assert list(both[0]) == list(both[1])


@pytest.mark.parametrize("width", [40, 80, 140])
@pytest.mark.parametrize("workers", [1, 4, 64])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_live_display_fits(width: int, workers: int, encoding: str) -> None:
    console = Console(width=width, height=30, color_system=None, force_terminal=True)
    options = console.options.update()
    options.encoding = encoding
    slots = [
        WorkerStatus(1000 + n, 3, 27, 0.8123) if n % 3 else WorkerStatus() for n in range(workers)
    ]
    ended = {TrialEnd.PRUNED: 35, TrialEnd.WORKER_LOST: 2}
    status = RunStatus(1000, 120, 0.81234, 77, ended, slots, 30, elapsed_s=40_000)
    lines = [
        "".join(segment.text for segment in line)
        for line in console.render_lines(
            Picture(status, "val_balanced_accuracy"), options, pad=False
        )
    ]
    assert max(map(cell_len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "120/1000 trials" in text
    assert "best val_balanced_accuracy 0.8123 (trial 77)" in text
    assert "pruned 35, other ends 2" in text
    assert ("more workers" in text) == (workers == 64)
    if encoding == "ascii":
        assert "━" not in text
