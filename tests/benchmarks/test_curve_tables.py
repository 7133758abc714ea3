"""Tables of curves: read from files, scored, and looked up."""

import json
import math

import numpy as np
import pytest
from curve_tables import MIXED_SPACE, mixed_table, write_parquet
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.search.lookup import NearestNeighbour, UnusedNeighbour
from benchmarks.search.spaces import TableParameter, TableSpace, applies
from benchmarks.search.tables import CurveTable, TableError, load_own, load_tables, load_taskset

NAMES = [
    "learning_rate",
    "beta1",
    "beta2",
    "epsilon",
    "l1",
    "l2",
    "linear_decay",
    "exponential_decay",
]


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_a_configuration_is_found_again_at_its_places(places):
    params = MIXED_SPACE.at(places)
    again = MIXED_SPACE.at(np.nan_to_num(MIXED_SPACE.places(params)))
    assert again.keys() == params.keys()
    for name, value in params.items():
        if isinstance(value, float):
            assert again[name] == pytest.approx(value, rel=1e-9, abs=1e-12)
        else:
            assert again[name] == value
    assert ("momentum" in params) == (params["optimizer"] == "sgd")


@pytest.mark.parametrize("log", [False, True])
def test_the_ends_of_a_range_are_reached_and_whole_numbers_are_equally_likely(log):
    number = TableParameter("n", "int", 1, 8, log=log)
    assert (number.value_at(0.0), number.value_at(1.0)) == (1, 8)
    values = [number.value_at(place) for place in np.linspace(0, 1, 8001)]
    assert set(values) == set(range(1, 9))
    if not log:
        assert values.count(1) == pytest.approx(1000, abs=2)
    real = TableParameter("x", "float", 1e-3, 10.0, log=log)
    assert (real.value_at(0.0), real.value_at(1.0)) == (pytest.approx(1e-3), 10.0)


def test_a_space_is_the_same_after_json():
    assert TableSpace.from_json(json.loads(json.dumps(MIXED_SPACE.to_json()))) == MIXED_SPACE


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_an_own_table_is_read_as_it_was_written(tmp_path, direction):
    table = mixed_table()
    write_parquet(table, tmp_path / "digits.parquet", direction)
    read = load_own(tmp_path / "digits.parquet")
    assert (read.name, read.space, read.default) == ("digits", table.space, table.default)
    assert read.configurations == table.configurations
    assert [type(value) for value in read.configurations[0].values()] == [
        type(value) for value in table.configurations[0].values()
    ]
    assert np.allclose(read.curves, table.curves, equal_nan=True)
    # 2 s for a whole trial, also for one that trained 4 of its 9 epochs.
    assert read.seconds[1] == pytest.approx(2 / 9) and read.seconds[0] == pytest.approx(2 / 4)


def taskset_file(path, tasks=("one", "two")):
    random = np.random.default_rng(0)
    arrays = {"names": np.array(tasks), "hyperparameters": np.array(NAMES)}
    for task in tasks:
        arrays[f"{task}/hp"] = np.tile(
            [1e-3, 0.9, 0.999, 1e-7, 1e-4, 1e-4, 1e-6, 1e-5], (20, 1)
        ) * random.uniform(0.9, 1.0, (20, 8))
        arrays[f"{task}/valid"] = random.uniform(0, 1, (20, 5)).astype(np.float32)
    arrays[f"{tasks[0]}/valid"][3, 2] = np.inf
    np.savez(path, **arrays)


def test_taskset_is_read_with_one_minus_its_betas(tmp_path):
    taskset_file(tmp_path / "taskset.npz")
    first, second = load_taskset(tmp_path / "taskset.npz")
    assert (first.name, second.name) == ("taskset/one", "taskset/two")
    assert first.curves.shape == (20, 5)
    # The curve ends where it first was infinite, though it was finite again behind.
    assert np.isnan(first.curves[3]).tolist() == [False, False, True, True, True]
    for params in first.configurations:
        assert 0.1 - 1e-9 <= params["one_minus_beta1"] <= 0.19 + 1e-9
    for parameter in first.space.parameters:
        assert parameter.low <= first.default[parameter.name] <= parameter.high


def test_tables_are_found_in_a_folder_and_by_path(tmp_path):
    write_parquet(mixed_table(), tmp_path / "a.parquet")
    write_parquet(mixed_table(), tmp_path / "b.parquet")
    taskset_file(tmp_path / "taskset.npz")
    found = load_tables([tmp_path, tmp_path / "taskset.npz"])
    assert {"a", "b", "taskset/one", "taskset/two"} <= found.keys()


@pytest.mark.parametrize("name", ["a.npz", "a.parquet", "missing.parquet", "missing.npz"])
def test_a_file_that_is_no_table_is_refused_by_name(tmp_path, name):
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"no table")
    with pytest.raises(TableError, match=name):
        load_tables([tmp_path / name])


def test_scores_targets_and_regret():
    space = TableSpace((TableParameter("x", "float"),))
    curves = np.full((200, 3), np.nan)
    curves[:, 0] = np.arange(200.0, 400.0)
    curves[:, 1] = np.arange(0.0, 200.0)[::-1]  # the last configuration is the best
    curves[0, 1] = np.nan
    points = tuple({"x": float(x)} for x in np.linspace(0, 1, 200))
    table = CurveTable("t", space, points, curves)
    assert table.scores[[0, 1, 199]].tolist() == [200.0, 198.0, 0.0]
    assert [table.target(share) for share in (0.05, 0.01, 0.005)] == [9.0, 1.0, 0.0]
    assert (table.rank(0.0), table.rank(9.5), table.rank(500.0)) == (0.0, 0.05, 1.0)
    assert (table.regret(0.0), table.regret(99.5 / 2)) == (0.0, pytest.approx(0.5))
    assert (table.regret(150.0), table.regret(math.inf)) == (1.0, 1.0)
    assert table.priors["good"] == points[-21] and table.priors["wrong"] == points[49]


def test_the_nearest_configuration_of_each_is_itself():
    table = mixed_table()
    lookup = NearestNeighbour(table)
    assert [lookup.index(params) for params in table.configurations] == list(range(60))
    assert lookup.seconds(table.configurations[0]) == 1.0


def test_the_nearest_has_the_same_choice_where_another_is_as_near():
    points = (
        {"optimizer": "sgd", "rate": 0.01, "momentum": 0.5, "depth": 2},
        {"optimizer": "adam", "rate": 0.01, "depth": 2},
    )
    table = CurveTable("t", MIXED_SPACE, points, np.array([[1.0], [2.0]]))
    assert all(applies(p, points[0]) for p in MIXED_SPACE.parameters)
    lookup = NearestNeighbour(table)
    wanted = {"optimizer": "adam", "rate": 0.5, "depth": 4}
    assert lookup.curve(wanted).tolist() == [2.0]
    assert lookup.curve({**wanted, "optimizer": "sgd", "momentum": 0.0}).tolist() == [1.0]


def test_no_two_trials_of_a_run_have_one_row_until_all_are_used():
    table = mixed_table(size=20)
    lookup = UnusedNeighbour(table)
    wanted = table.configurations[3]
    near = [{**wanted, "rate": wanted["rate"] * (1 + number / 1e6)} for number in range(20)]
    rows = [lookup.index(params) for params in near]
    assert rows[0] == 3 and sorted(rows) == list(range(20))
    assert [lookup.index(params) for params in near] == rows  # equal ones have equal curves
    assert lookup.index({**wanted, "rate": wanted["rate"] * 1.01}) == 3
    assert lookup.for_run().index(near[7]) == 3


def test_the_next_row_is_the_nearest_of_the_others():
    table = mixed_table()
    lookup, plain = UnusedNeighbour(table), NearestNeighbour(table)
    wanted = table.configurations[5]
    order = np.argsort(plain.distances(wanted), kind="stable")
    near = [wanted, {**wanted, "rate": wanted["rate"] * (1 + 1e-12)}]
    assert [lookup.index(params) for params in near] == order[:2].tolist()
