"""What the listing commands print of studies with many trials, in narrow and wide terminals."""

import csv
import io
import json
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial
from toy_study import ANY_X, any_of, toy_spec

from tuner.cli import output
from tuner.cli.output import (
    clipped,
    complain,
    escape_controls,
    one_line,
    say,
    show_facts,
    stream_rows,
)
from tuner.storage import open_store, trials
from tuner.storage.studies import create_study

COUNT = 250


@pytest.fixture
def study(tuner: Any, tmp_path: Any) -> str:
    """A study of many trials; the last is the best one."""
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    create_study(store, "toy", toy_spec({"x": ANY_X, "kind": any_of("a", "b")}))
    distributions: dict[str, Any] = {
        "x": FloatDistribution(0, 1),
        "kind": CategoricalDistribution(["a", "b"]),
    }
    found = optuna.load_study(study_name="toy", storage=store.optuna)
    found.add_trials(
        create_trial(
            params={"x": n / COUNT, "kind": "ab"[n % 2]}, distributions=distributions, value=n
        )
        for n in range(COUNT)
    )
    store.close()
    return "toy"


def numbers(out: str) -> list[int]:
    return [
        int(line.split()[0])
        for line in out.splitlines()
        if line.split()[:1] and line.split()[0].isdigit()
    ]


def test_a_table_ends_after_a_page_and_says_how_many_more_there_are(tuner: Any, study: str) -> None:
    out = tuner("trial", "list").out
    assert numbers(out.partition("\n150 more")[0]) == list(range(100))
    assert out.splitlines()[-1] == "150 more; all: tuner trial list toy --all"


def test_best_first_pages_begin_with_the_best(tuner: Any, study: str) -> None:
    out = tuner("trial", "list", "--best-first", "--limit", "3").out
    assert numbers(out.partition("\n247 more")[0]) == [249, 248, 247]
    assert out.splitlines()[-1] == "247 more; all: tuner trial list toy --best-first --all"


def test_trials_are_sorted_and_filtered_by_columns(tuner: Any, study: str) -> None:
    out = tuner("trial", "list", "--sort=-x", "--filter", "kind=a x<0.5", "--limit", "2").out
    assert numbers(out.partition("\n61 more")[0]) == [124, 122]
    every = "61 more; all: tuner trial list toy --sort=-x '--filter=kind=a x<0.5' --all"
    assert out.splitlines()[-1] == every
    rows = json.loads(tuner("trial", "list", "--filter", "score>=248", "--json").out)
    assert [row["trial"] for row in rows] == [248, 249]
    assert "no trial meets x>1" in tuner("trial", "list", "--filter", "x>1").out
    wrong = tuner("trial", "list", "--filter", "knd=a")
    assert wrong.code == 2 and "no column 'knd' (did you mean 'kind'" in wrong.err
    both = tuner("trial", "list", "--sort", "x", "--best-first")
    assert both.code == 2 and "not both" in both.err


def test_all_prints_all_and_programs_get_all(tuner: Any, study: str) -> None:
    assert numbers(tuner("trial", "list", "--all").out) == list(range(COUNT))
    rows = json.loads(tuner("trial", "list", "--json").out)
    assert [row["trial"] for row in rows] == list(range(COUNT))
    few = json.loads(tuner("trial", "list", "--json", "--limit", "2", "--best-first").out)
    assert [row["trial"] for row in few] == [249, 248]
    exported = list(csv.DictReader(io.StringIO(tuner("study", "export").out)))
    assert [(row["trial"], row["kind"]) for row in exported[:2]] == [("0", "a"), ("1", "b")]
    assert len(exported) == COUNT
    assert len(json.loads(tuner("study", "export", "--format", "json").out)) == COUNT


def test_all_and_a_limit_exclude_each_other(tuner: Any, study: str) -> None:
    done = tuner("trial", "list", "--all", "--limit", "3")
    assert (done.code, done.err) == (2, "tuner: give either --all or --limit, not both\n")


def test_looking_reads_no_more_trials_than_it_shows(
    tuner: Any, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []
    real = trials._trial_row

    def counted(*words: Any) -> trials.TrialRow:
        row = real(*words)
        built.append(row.number)
        return row

    monkeypatch.setattr(trials, "_trial_row", counted)
    for words, most in {
        ("study", "show"): 1,
        ("study", "best"): 1,
        ("study", "list"): 0,
        ("trial", "show", "200"): 1,
        ("trial", "list"): 100,
        ("trial", "list", "--best-first"): 100,
    }.items():
        built.clear()
        assert tuner(*words).code == 0
        assert len(built) == most, words


def test_show_counts_and_compares_in_sql_what_the_rows_say(tuner: Any, study: str) -> None:
    facts = json.loads(tuner("study", "show", "--json").out)
    assert (facts["trials"], facts["ends"]) == (COUNT, {"complete": COUNT})
    assert (facts["best_trial"], facts["best_score"]) == (COUNT - 1, COUNT - 1.0)


@pytest.mark.parametrize("columns", [70, 80, 140])
def test_a_table_fits_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    params = {f"parameter_{n}": n / 7 for n in range(15)}
    row = {"trial": 7, "state": "complete", "end": "early_stopped", "score": 0.5, "epochs": 27}
    stream_rows([row | {"seconds": 12.5, "params": params}] * 3)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    for name in params:
        assert sum(f"{name}=" in line for line in lines) == 3


def test_long_text_is_shortened_in_tables(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_rows([{"name": "x" * 100_000}], False)
    stream_rows([{"trial": 1, "end": "x" * 100_000, "params": 1}])
    assert max(map(len, capsys.readouterr().out.splitlines())) < 2_100
    stream_rows([{"trial": 1, "params": "x" * 100_000}])
    show_facts({"detail": "begin" + "x" * 5_000_000 + "end"}, False)
    out = capsys.readouterr().out
    assert len(out) < 40_000
    assert "begin" in out
    assert "end" in out


NASTY = "a\x1b[31mb\x07\x00\x9b2J\u202e\u2028\ud800\rc"


def test_control_characters_are_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    say(NASTY)
    complain(NASTY)
    show_facts({"name": NASTY, "params": {NASTY: NASTY}, "list": [NASTY]}, False)
    output.show_rows([{"name" + NASTY: NASTY}], False, title=NASTY)
    stream_rows([{"name" + NASTY: NASTY, "last": {NASTY: NASTY}}])
    output.print_csv([{"end": NASTY, "params": {"p": [NASTY]}}], ["end"], ["p"])
    output.print_json({NASTY: NASTY})
    captured = capsys.readouterr()
    text = (captured.out + captured.err).replace("\r\n", "\n")
    assert text == escape_controls(text)
    assert "a\\x1b[31mb" in captured.out
    assert "a\\x1b[31mb" in captured.err


def test_brackets_and_colons_are_not_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_rows([{"[bold]name[/bold]": "[/] [red]:bomb:"}], False, title="[/x] :bomb:")
    say("[/] :bomb:")
    out = capsys.readouterr().out
    assert out.count(":bomb:") == 3
    assert "[bold]name[/bold]" in out


def test_a_fact_of_several_lines_cannot_pose_as_another(capsys: pytest.CaptureFixture[str]) -> None:
    show_facts({"detail": "one\nbest score  1.0"}, False)
    assert "\nbest score" not in capsys.readouterr().out
    assert one_line("a\nb\tc") == "a\\nb\\tc"
    assert clipped("abcdef", 3) == "ab…"


def test_help_says_what_programs_get(tuner: Any) -> None:
    words = " ".join(tuner("trial", "list", "--help").out.split())
    assert "with --json all" in words
