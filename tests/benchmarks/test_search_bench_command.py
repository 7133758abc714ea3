"""A short run of the bench, from the command to the page."""

import pytest
from curve_tables import mixed_table, write_parquet
from typer.testing import CliRunner

from benchmarks.search import tables as tables_module
from benchmarks.search.__main__ import app
from benchmarks.search.report import BEGIN, END

METHODS = ("random", "optuna:random+hyperband", "tuner:random+asha")


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Runs a command on two tables, made for this test."""
    monkeypatch.setattr(tables_module, "OWN_TABLES", tmp_path / "none")
    for seed, name in enumerate(("first", "second")):
        write_parquet(mixed_table(seed=seed), tmp_path / "tables" / f"{name}.parquet", "minimize")

    def run(command, *words, methods=METHODS):
        chosen = [word for method in methods for word in ("-m", method)]
        kept = ["--tables", str(tmp_path / "tables"), "--results", str(tmp_path / "results")]
        kept += ["--lookup", "nearest"]  # it is made fastest
        return CliRunner().invoke(app, [command, *kept, *chosen, *words])

    (tmp_path / "tables").mkdir(exist_ok=True)
    return run


@pytest.fixture(autouse=True)
def folder(tmp_path):
    (tmp_path / "tables").mkdir()


def test_a_short_run_is_reported_and_not_repeated(bench, tmp_path, monkeypatch):
    words = ("--seeds", "2", "--budget", "10")
    ran = bench("run", *words)
    assert ran.exit_code == 0 and "12 runs to do, 0 are there" in ran.output
    again = bench("run", *words)
    assert again.exit_code == 0 and "0 runs to do, 12 are there" in again.output

    out = tmp_path / "docs"
    to_baseline = ("--baseline", "random", "--ours", "tuner:random+asha")
    shown = bench("report", "--budget", "10", "--out", str(out), *to_baseline)
    assert shown.exit_code == 0, shown.output
    page = (out / "search-methods.md").read_text()
    assert "2 tables, 2 seeds." in page and "| first |" in page and "| second |" in page
    for method in METHODS:
        assert page.count(f"`{method}`") >= 2
    assert (out / "search-own.png").stat().st_size > 10_000

    monkeypatch.setattr("benchmarks.search.report.draw", lambda *_: None)  # it takes long
    (out / "search-methods.md").write_text(f"before\n{BEGIN}\nold\n{END}\nbehind\n")
    bench("report", "--budget", "10", "--out", str(out), *to_baseline, methods=METHODS[::2])
    page = (out / "search-methods.md").read_text()
    assert page.startswith("before\n") and page.endswith("\nbehind\n") and "old" not in page
    assert "optuna:random+hyperband" not in page


def test_a_longer_run_adds_what_is_missing(bench):
    bench("run", "--seeds", "1", "--budget", "3", methods=["random"])
    more = bench("run", "--seeds", "2", "--budget", "2", methods=["random"])
    assert "2 runs to do, 2 are there" in more.output
    longer = bench("run", "--seeds", "2", "--budget", "4", methods=["random"])
    assert "4 runs to do, 0 are there" in longer.output


def test_a_failing_method_stops_no_other(bench, monkeypatch):
    def fail(self):
        raise ZeroDivisionError("none left")

    monkeypatch.setattr("benchmarks.search.methods.top_k.OneEpochThenTopK.ask", fail)
    done = bench("run", "--seeds", "1", "--budget", "2", methods=["top-k", "random"])
    assert done.exit_code == 1
    assert "top-k on first, seed 0: ZeroDivisionError: none left" in done.output
    assert "2 of 4 runs failed" in done.output
    left = bench("run", "--seeds", "1", "--budget", "2", methods=["top-k", "random"])
    assert "2 runs to do, 2 are there" in left.output


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("run", "-m", "bohb"), 2, "unknown method 'bohb'"),
        (("run", "-m", "tuner:tpe+none+none"), 2, "is not tuner:SAMPLER+PRUNER"),
        (("run", "-m", "syne-tune:asha"), 1, "`make rivals` makes an environment that has it"),
        (("run", "--lookup", "spline"), 2, "--lookup must be one of nearest"),
        (("run", "--only", "third"), 2, "no table fits; there are: first, second"),
        (("run", "--tables", "gone.npz"), 2, "gone.npz: not TaskSet's tables"),
        (("report", "-m", "random"), 1, "no runs of optuna:tpe+hyperband"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(bench, words, code, problem):
    done = bench(*words, methods=[])
    assert done.exit_code == code and problem in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_runs_in_two_processes_are_those_of_one(bench, tmp_path):
    words = ("--seeds", "1", "--budget", "3")

    def contents():
        files = sorted((tmp_path / "results").rglob("*.json"))
        return {path.name: path.read_text().split('"method_s"')[0] for path in files}

    bench("run", *words, methods=["random"])
    alone = contents()
    for path in (tmp_path / "results").rglob("*.json"):
        path.unlink()
    bench("run", *words, "--processes", "2", methods=["random"])
    assert contents() == alone and len(alone) == 2


def test_reports_leave_out_what_has_too_few_runs(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.search.report.draw", lambda *_: None)
    bench("run", "--seeds", "2", "--budget", "3", methods=["random"])
    bench("run", "--seeds", "1", "--budget", "3", methods=["tuner:random"])
    shown = ("--budget", "3", "--baseline", "random", "--out", str(tmp_path / "docs"))
    done = bench("report", *shown, methods=[])
    assert "own: left out tuner:random, which has 2 of the 4 runs of random" in done.output
    page = (tmp_path / "docs" / "search-methods.md").read_text()
    assert "`random`" in page and "tuner:random" not in page
    next((tmp_path / "results" / "random").rglob("*first*seed1*")).unlink()
    bench("report", *shown, methods=["random"])
    assert "2 tables, 1 to 2 seeds." in (tmp_path / "docs" / "search-methods.md").read_text()
