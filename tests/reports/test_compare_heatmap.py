"""Which comparisons are a heat map, and where its numbers stand."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tuner.reports.comparison_tables import ComparisonRow, ComparisonTable
from tuner.reports.heat_maps import heat_map_panels, save_heat_maps, terminal_heat_maps

RATES, SIZES = [0.1, 0.001, 0.01], [64, 16]


def grid(metric: str = "test_accuracy", **more: list[Any]) -> ComparisonTable:
    """Scores that tell where they belong: 100 * rate + size / 1000, and a trifle a category."""
    axes = {"rate": RATES, "size": SIZES} | more
    rows = []
    for values in itertools.product(*axes.values()):
        params = dict(zip(axes, values, strict=True))
        rows.append(ComparisonRow(params, (score(params),)))
    return ComparisonTable(metric, rows, list(axes))


def score(params: dict[str, Any]) -> float:
    return params["rate"] + params["size"] / 1e5 + len(str(params.get("kind", ""))) / 1e7


def test_values_stand_at_their_sorted_axes() -> None:
    (panel,) = heat_map_panels(grid())
    assert (panel.title, panel.y, panel.x) == ("", "rate", "size")
    assert (panel.ys, panel.xs) == (sorted(RATES), sorted(SIZES))
    for i, j in itertools.product(range(3), range(2)):
        wanted = 100 * score({"rate": panel.ys[i], "size": panel.xs[j]})
        assert panel.cells[i][j] == pytest.approx(wanted)


def test_a_panel_for_each_combination_of_categories() -> None:
    table = grid(kind=["adam", "sgd"], flag=[True, False])
    titles = [panel.title for panel in heat_map_panels(table)]
    assert titles == [
        f"kind {kind}, flag {flag}" for kind in ("adam", "sgd") for flag in ("true", "false")
    ]


def test_a_configuration_that_never_finished_is_a_gap() -> None:
    table = grid()
    rows = [ComparisonRow(table.rows[0].params), *table.rows[1:]]
    (panel,) = heat_map_panels(ComparisonTable(table.metric, rows, table.searched))
    assert panel.cells[2][1] is None


@pytest.mark.parametrize(
    "table",
    [
        grid(third=[1, 2]),
        grid(third=[[1, 2], [3]]),
        grid(third=[None, 2]),
        ComparisonTable("test_loss", grid().rows[:1], ["rate", "size"]),
        ComparisonTable("test_loss", grid().rows[:5], ["rate", "size"]),
        ComparisonTable("test_loss", grid().rows, ["rate"]),
    ],
    ids=["three numbers", "lists", "comes and goes", "one", "not whole", "one axis"],
)
def test_what_is_no_heat_map(table: ComparisonTable) -> None:
    assert heat_map_panels(table) == []


def test_in_the_terminal_the_better_end_is_bright() -> None:
    text = {}
    for metric in ("test_accuracy", "test_loss"):
        table = grid(metric)
        console = Console(width=80, force_terminal=True, color_system="truecolor")
        with console.capture() as captured:
            console.print(*terminal_heat_maps(table, heat_map_panels(table)))
        text[metric] = captured.get()
    bright = "48;2;253;231;37"
    shown = {metric: piece.partition(bright)[2][:30] for metric, piece in text.items()}
    assert "10.06" in shown["test_accuracy"]
    assert "0.00116" in shown["test_loss"]


def test_a_picture_of_all_panels(tmp_path: Path) -> None:
    table = grid(kind=["adam", "sgd"])
    path = tmp_path / "map.png"
    save_heat_maps(table, heat_map_panels(table), path)
    assert path.read_bytes().startswith(b"\x89PNG")
