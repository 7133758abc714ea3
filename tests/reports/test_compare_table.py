"""A comparison's table: means against `statistics`, its words, Markdown and CSV."""

import csv
import io
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.reports.comparison_tables import (
    ComparisonRow,
    ComparisonTable,
    csv_text,
    markdown_table,
    params_in_words,
)

SHORT: dict[str, Any] = {"depth": 1, "width": [30], "bias": True, "optimizer": "adam", "epochs": 3}
DEEP: dict[str, Any] = {"depth": 2, "width": [500, 30], "bias": False, "epochs": 3}


def table(
    *rows: ComparisonRow, metric: str = "test_accuracy", told: tuple[str, ...] = ("epochs", "bias")
) -> ComparisonTable:
    searched = [
        "depth",
        "width",
        "bias",
        "epochs",
    ]  # the optimizer is a default that comes and goes
    return ComparisonTable(metric, rows, searched, told)


def both(**changes: Any) -> ComparisonTable:
    first: dict[str, Any] = {"values": (0.95, 0.97), "seconds": (1.0, 2.0), "reference": 96.4}
    return table(
        ComparisonRow(SHORT, **first | changes),
        ComparisonRow(DEEP, (0.5,), (3.04,), {"diverged": 2}),
    )


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_mean_and_deviation(values: list[float]) -> None:
    accuracy = table(ComparisonRow(SHORT, tuple(values)))
    percent = [100 * value for value in values]
    (row,) = accuracy.rows
    assert accuracy.mean(row) == pytest.approx(statistics.mean(percent))
    assert accuracy.deviation(row) == pytest.approx(statistics.stdev(percent), abs=1e-9)
    loss = table(row, metric="test_loss")
    assert loss.mean(row) == pytest.approx(statistics.mean(values))


def test_words() -> None:
    first, second = both().words()
    assert first == {
        "depth": "1",
        "width": "30",
        "bias": "true",
        "seeds": 2,
        "test accuracy %": "96.00 ± 1.41",
        "reference": "96.4",
        "reached": "true",
        "seconds": 1.5,
        "notes": None,
    }
    assert list(first) == list(second)
    assert (second["width"], second["test accuracy %"]) == ("500 30", "50.00")
    assert (second["reference"], second["reached"]) == (None, None)
    assert second["notes"] == "2 diverged"


def test_columns_that_say_nothing_are_left_out() -> None:
    plain = table(ComparisonRow(SHORT, (0.5,), (1.0,)), ComparisonRow(DEEP))
    assert list(plain.words()[0])[-2:] == ["test accuracy %", "seconds"]
    assert plain.words()[1]["test accuracy %"] is None
    assert plain.numbers()[1]["test_accuracy_percent_mean"] is None
    assert table(ComparisonRow(SHORT, (0.5,))).words() == [
        {"seeds": 1, "test accuracy %": "50.00", "seconds": None}
    ]


def test_what_is_alike_is_told_once() -> None:
    assert both().common == {"epochs": 3}
    assert params_in_words(both().common | {"width": [3, 4], "bias": False, "rate": 0.1}) == (
        "epochs 3, width 3 4, bias false, rate 0.1"
    )


@pytest.mark.parametrize(
    ("metric", "value", "reference", "reached"),
    [
        ("test_accuracy", 0.9791, 98.4, True),
        ("test_accuracy", 0.9789, 98.4, False),
        ("test_loss", 0.104, 0.1, True),
        ("test_loss", 0.106, 0.1, False),
        ("test_rmse", 3.0, 4.0, True),
        ("test_rmse", 3.0, None, None),
    ],
)
def test_reached(metric: str, value: float, reference: float | None, reached: bool | None) -> None:
    one = table(ComparisonRow(SHORT, (value,), reference=reference), metric=metric)
    assert one.reached(one.rows[0]) is reached


@pytest.mark.parametrize(
    ("values", "shown"),
    [((0.123456, 0.123466), "0.1235 ± 7.1e-06"), ((1234.56,), "1235"), ((2.0, 3.0), "2.5 ± 0.71")],
)
def test_other_metrics_have_four_digits(values: tuple[float, ...], shown: str) -> None:
    assert table(ComparisonRow(SHORT, values), metric="test_loss").words()[0]["test loss"] == shown


def test_csv_comes_back() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(both()))))
    assert [row["width"] for row in rows] == ["30", "500 30"]
    assert [row["bias"] for row in rows] == ["true", "false"]
    assert [float(row["test_accuracy_percent_mean"]) for row in rows] == [96.0, 50.0]
    assert float(rows[0]["test_accuracy_percent_std"]) == pytest.approx(2**0.5)
    assert rows[1]["test_accuracy_percent_std"] == rows[1]["reached"] == ""
    assert rows[1]["notes"] == "2 diverged"


def test_markdown_comes_back() -> None:
    lines = [line.strip("| ").split(" | ") for line in markdown_table(both()).splitlines()]
    names, ruler, *rows = lines
    assert set(ruler) == {"---"}
    shown = [
        {name: None if cell == "–" else cell for name, cell in zip(names, row, strict=True)}
        for row in rows
    ]
    assert shown[0] == {**both().words()[0], "seeds": "2", "seconds": "1.5"}
    assert shown[1]["seconds"] == "3.0"


def test_a_bar_does_not_break_markdown() -> None:
    rows = (ComparisonRow({"depth": "a|b"}), ComparisonRow({"depth": "c"}))
    assert markdown_table(table(*rows)).splitlines()[2].startswith("| a\\|b |")


def test_recorded_metrics_have_columns_of_their_own() -> None:
    recorded = {"test_f1": (0.5, 0.7), "test_auc": (0.91, 0.93)}
    rows = [
        ComparisonRow(SHORT, (0.9, 0.8), recorded=recorded),
        ComparisonRow(DEEP, (0.5,), recorded={"test_f1": (0.25,)}),
    ]
    one = ComparisonTable("test_accuracy", rows, ["depth"], record=("test_f1", "test_auc"))
    first, second = one.words()
    assert list(first) == ["depth", "seeds", "test accuracy %", "test f1 %", "test auc", "seconds"]
    assert (first["test f1 %"], first["test auc"]) == ("60.00 ± 14.14", "0.92 ± 0.014")
    assert (second["test f1 %"], second["test auc"]) == ("25.00", None)
    numbers = one.numbers()[0]
    assert numbers["test_f1_percent_mean"] == pytest.approx(60.0)
    assert numbers["test_auc_std"] == pytest.approx(statistics.stdev((0.91, 0.93)))
    assert "test_auc_mean" in csv_text(one).splitlines()[0].split(",")


@pytest.mark.parametrize(
    ("metric", "direction", "value", "reached"),
    [
        ("test_mape", None, 0.104, True),  # in percent, and less is better
        ("test_mape", None, 0.106, False),
        ("test_cost", "minimize", 10.4, True),
        ("test_gain", "maximize", 9.6, True),
        ("test_gain", "maximize", 9.4, False),
    ],
)
def test_references_are_reached_in_the_metric_s_direction(
    metric: str, direction: Any, value: float, reached: bool
) -> None:
    row = ComparisonRow(SHORT, (value,), reference=10.0)
    one = ComparisonTable(metric, [row], [], own_direction=direction)
    assert one.reached(row) is reached
