"""Charts in terminals of all sizes, with and without colours, in Unicode and ASCII."""

import io
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tuner.cli.braille import Dots
from tuner.cli.terminal_charts import TerminalChart
from tuner.reports.charts import (
    Axis,
    Bars,
    Chart,
    Form,
    Panel,
    Parallel,
    Scale,
    Series,
    value_axis,
)


def render(
    chart: Chart, width: int = 80, height: int = 24, encoding: str = "utf-8", **options: object
) -> list[str]:
    """The lines of a chart in such a terminal."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, height=height, **options)  # type: ignore[arg-type]
    console.print(TerminalChart(chart, is_piped=False))
    file.seek(0)
    return file.read().splitlines()


def curves(count: int = 2) -> Chart:
    x = [1.0, 2.0, 3.0, 4.0]
    series = [
        Series("training", x, [1.0, 0.5, 0.3, 0.2], Form.DASHES),
        Series("validation", x, [1.0, 0.6, 0.5, 0.6], Form.LINE, 1),
        Series("best epoch", [3.0], [0.5], Form.BEST, 1),
    ]
    panel = Panel(Axis("epoch"), value_axis("loss", [1.0, 0.2]), series)
    return Chart("some curves", [panel] * count, ["a sentence"])


@pytest.mark.parametrize(("width", "beside"), [(30, 1), (80, 2), (140, 3)])
def test_panels_stand_side_by_side_where_they_fit(width: int, beside: int) -> None:
    lines = render(curves(4), width)
    assert max(map(len, lines)) <= min(width, 120)
    assert max(line.count("loss by epoch") for line in lines) == beside


def test_two_panels_fit_the_height() -> None:
    for height in (24, 50):
        lines = render(curves(2), 80, height)
        assert len(lines) < height
    assert len(render(curves(1), 80, 50)) > len(render(curves(1), 80, 24)) - 1


def test_ascii_where_the_output_cannot_encode_more() -> None:
    name = "a_parameter_with_a_very_long_name"
    scale = Scale(name, [1.0, None, 3.0])
    kinds = Scale("kind", [0.0, 1.0, 1.0], choices=("x" * 60, "y" * 60))
    for chart in (
        curves(),
        Chart("bars", [Bars("importance", [name, "b"], [0.9, 0.1])]),
        Chart("parallel", [Parallel([1, 2, 3], "loss", [0.1, 0.2, 0.3], [scale, kinds])]),
    ):
        lines = render(chart, encoding="ascii")
        assert max(map(len, lines)) <= 80
        assert any(character in "".join(lines) for character in "#*+-")


def test_colours_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = "\n".join(render(curves(), force_terminal=True, color_system="standard"))
    assert "\x1b[36m" in coloured
    assert "\x1b[33m" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = "\n".join(render(curves(), force_terminal=True, color_system="standard"))
    assert "\x1b[3" not in plain
    # Lines are told apart without colours too.
    assert "⠒ ⠒ training   ⠒⠒⠒ validation" in plain


def test_lines_of_many_trials_have_their_numbers_at_the_end() -> None:
    lines = [Series(f"trial {n}", [1.0, 2.0], [0.0, n / 3], tag=str(n)) for n in range(4)]
    out = render(Chart("t", [Panel(Axis("epoch"), Axis("loss"), lines)]))
    ends = [line[-1] for line in out if (line[-1:].isdigit() and "│" in line) or "┤" in line]
    assert ends[:1] == ["3"]
    assert {"0", "1", "2", "3"} <= {*"".join(line[-2:] for line in out)}


def test_control_characters_do_not_reach_the_terminal() -> None:
    nasty = "a\x1b[31m\nb"
    point = Series(nasty, [0.0], [1.0], Form.POINTS)
    other = Series("other", [1.0], [1.0], Form.DOTS)
    panel = Panel(Axis(nasty, choices=(nasty, "c")), Axis(nasty), [point, other])
    parallel = Parallel([1], nasty, [0.5], [Scale(nasty, [0.0], choices=(nasty,))])
    for chart in (
        Chart(nasty, [panel], [nasty]),
        Chart(nasty, [Bars(nasty, [nasty], [1.0])]),
        Chart(nasty, [parallel]),
    ):
        assert "\x1b" not in "".join(render(chart))


NUMBERS = st.floats(-1e12, 1e12) | st.floats(1e-9, 1e-3) | st.sampled_from([0.0, 1.0])


@given(
    values=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6),
    form=st.sampled_from(Form),
    width=st.integers(20, 130),
    direction=st.sampled_from(["maximize", "minimize", None]),
)
@settings(max_examples=60, deadline=None)
def test_any_numbers_are_drawn_within_the_width(
    values: Sequence[tuple[float, float]], form: Form, width: int, direction: str | None
) -> None:
    x, y = zip(*sorted(values), strict=True)
    axis = value_axis("loss", y, direction)  # type: ignore[arg-type]
    panel = Panel(value_axis("rate", x), axis, [Series("some", x, y, form, tag="1")])
    lines = render(Chart("title", [panel]), width)
    assert max(map(len, lines)) <= max(width, 30)


def test_dots_outside_are_not_drawn_and_the_last_style_wins() -> None:
    dots = Dots(2, 1)
    dots.draw([(0.0, 0.0), (2.0, 0.5), (0.5, -3.0)], "red")
    assert dots.lines()[0].plain == "⡀ "
    dots.draw([(0.0, 1.0)], "red")
    assert dots.at(0, 0) == ("⡁", "red")
    dots.draw([(0.0, 1.0)], "blue")
    assert dots.at(0, 0) == ("⠁", "blue")


def test_far_worse_values_stay_out_of_the_frame() -> None:
    values = [0.1, 0.11, 0.12, 0.13, 50.0]
    assert value_axis("loss", values, "minimize").limits == (0.1, 0.13)
    assert value_axis("loss", [-v for v in values], "maximize").limits == (-0.13, -0.1)
    assert value_axis("loss", [0.1, 0.9], "minimize").limits == (0.1, 0.9)
    assert value_axis("loss", [1e-3, 1.0]).log is True
    assert value_axis("loss", [0.0, 1.0]).log is False
    assert math.isclose(Scale("x", [1.0, 100.0], log=True).share(10.0), 0.5)
