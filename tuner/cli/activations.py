"""`tuner activations`: what the activations look like."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.app import Json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tuner.activations import Drawn

_COLUMNS, _ROWS = 36, 9
_VALUE, _SLOPE = "bold cyan", "yellow"


def activations(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which ones; all where none is named.")
    ] = None,
    leaky_slope: Annotated[float, typer.Option(help="Of leaky_relu below zero.")] = 0.2,
    save: Annotated[
        Path | None, typer.Option(help="Draw them into this file too: .png, .svg or .pdf.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the activations of hidden layers and their derivatives.

    Example: tuner activations relu gelu --save activations.png
    """
    from tuner.activations import check_drawing, curves, save_drawing
    from tuner.cli.output import print_json, say

    if save is not None:
        check_drawing(save)
    drawn = curves(names or [], leaky_slope)
    if as_json:
        print_json([one._asdict() for one in drawn])
    else:
        _show(drawn)
    if save is not None:
        save_drawing(drawn, save)
        if not as_json:
            say(f"wrote {save}")


def _show(drawn: list["Drawn"]) -> None:
    from rich.columns import Columns
    from rich.text import Text

    from tuner.cli.output import console

    legend = Text.assemble(("function", _VALUE), ", ", ("derivative", _SLOPE), ", ")
    legend.append(f"x from {drawn[0].x[0]:g} to {drawn[0].x[-1]:g}")
    console().print(legend)
    console().print(Columns([_panel(one) for one in drawn]))


def _panel(one: "Drawn") -> "RenderableType":
    from rich.panel import Panel

    from tuner.cli.canvas import drawn

    value, slope = (list(zip(one.x, curve, strict=True)) for curve in (one.y, one.derivative))
    picture = drawn([(slope, _SLOPE), (value, _VALUE)], _COLUMNS, _ROWS)
    low, high = min(one.y), max(one.y)
    return Panel(picture, title=one.name, subtitle=f"y from {low:.3g} to {high:.3g}", expand=False)
