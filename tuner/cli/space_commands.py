"""`tuner space`: look at search spaces. `tuner activations`: draw the activation functions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.app import Json, flag, new_typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tuner.reports.activation_curves import ActivationCurve

app = new_typer("Look at search spaces.")

_PANEL_COLUMNS, _PANEL_ROWS = 36, 9
_FUNCTION_STYLE, _DERIVATIVE_STYLE = "bold cyan", "yellow"


@app.command("list")
def list_spaces(as_json: Json = False) -> None:
    """List the search spaces that come with tuner.

    Example: tuner space list
    """
    from tuner.cli.output import show_rows
    from tuner.search_space import load_space, shipped_spaces

    rows = []
    for name, path in shipped_spaces().items():
        space = load_space(name)
        varies = " ".join(space.varying())
        rows.append({"name": name, "network": space.network, "varies": varies, "file": str(path)})
    show_rows(rows, as_json)


@app.command("show")
def show(
    space: Annotated[
        str, typer.Argument(help="A shipped name, or a path to a YAML file.", metavar="SPACE")
    ],
    as_json: Json = False,
) -> None:
    """Print a space's parameters, and its number of grid points if that is finite.

    Example: tuner space show mlp
    """
    from tuner.cli.output import print_json, say, show_rows
    from tuner.search_space import load_file
    from tuner.search_space.function_kinds import FunctionKind
    from tuner.training.program_key import slower_space_reason

    file = load_file(space)
    loaded = file.space
    reason = slower_space_reason(loaded)
    points = loaded.grid_size()
    parameters = [row._asdict() for row in loaded.rows()]
    if as_json:
        facts = {"network": loaded.network, "data": file.data, "grid_points": points}
        facts["slower_engine_reason"] = reason
        facts["function_kind"] = loaded.function_kind
        print_json(facts | {"parameters": parameters, "baselines": loaded.baselines})
        return
    data = ", ".join(f"{name} {value}" for name, value in file.data.items())
    title = f"network: {loaded.network}" + (f";  data: {data}" if data else "")
    if loaded.function_kind is not FunctionKind.BUILD:
        title += f";  it {loaded.function_kind.form}"
    if reason is not None:
        title += f";  engine: keras, because {reason}"
    show_rows(parameters, as_json, title)
    count = "not finite: a float has no step" if points is None else f"{points:,}"
    say(f"grid points: {count};  baselines tried first: {len(loaded.baselines)}")


@app.command("parameters")
def parameters(
    as_markdown: Annotated[
        bool, flag("--markdown", text="Print Markdown, as in docs/parameters.md.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List all parameters that a space file can search or fix, with their values and meaning.

    Example: tuner space parameters
    """
    from itertools import groupby

    from tuner.cli.output import print_json, show_rows
    from tuner.search_space.reference import reference_entries, reference_markdown

    if as_json:
        print_json([entry._asdict() for entry in reference_entries()])
    elif as_markdown:
        print(reference_markdown())
    else:
        for group, members in groupby(reference_entries(), key=lambda entry: entry.group):
            rows = [entry._asdict() for entry in members]
            columns = [name for name in rows[0] if name != "group"]
            show_rows([{name: row[name] for name in columns} for row in rows], False, group)


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of search-space files, for editors.

    Example: tuner space schema > space.schema.json
    """
    from tuner.cli.output import print_json
    from tuner.search_space import space_schema

    print_json(space_schema())


def activations(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="The activations to draw, such as relu.", metavar="[NAME …]", show_default="all"
        ),
    ] = None,
    leaky_slope: Annotated[
        float, typer.Option(help="The slope of leaky_relu below zero.", metavar="SLOPE")
    ] = 0.2,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Draw them into this file too, a .png, .svg or .pdf.",
            metavar="FILE",
            show_default="no file",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the activations of hidden layers and their derivatives.

    Example: tuner activations relu gelu --save activations.png
    """
    from tuner.cli.output import print_json, say
    from tuner.reports.activation_curves import activation_curves, save_drawing
    from tuner.reports.chart_files import check_file

    if save is not None:
        check_file(save)
    curves = activation_curves(names or [], leaky_slope)
    if save is not None:  # before anything is printed: the pipe may be closed by then
        save_drawing(curves, save)
    if as_json:
        print_json([curve._asdict() for curve in curves])
        return
    _print_curves(curves)
    if save is not None:
        say(f"wrote {save}")


def _print_curves(curves: "list[ActivationCurve]") -> None:
    from rich.columns import Columns
    from rich.text import Text

    from tuner.cli.output import console

    legend = Text.assemble(
        ("function", _FUNCTION_STYLE), ", ", ("derivative", _DERIVATIVE_STYLE), ", "
    )
    legend.append(f"x from {curves[0].x[0]:g} to {curves[0].x[-1]:g}")
    console().print(legend)
    console().print(Columns([_curve_panel(curve) for curve in curves]))


def _curve_panel(curve: "ActivationCurve") -> "RenderableType":
    from rich.panel import Panel

    from tuner.cli.braille import plot_braille

    function = list(zip(curve.x, curve.y, strict=True))
    derivative = list(zip(curve.x, curve.derivative, strict=True))
    picture = plot_braille(
        [(derivative, _DERIVATIVE_STYLE), (function, _FUNCTION_STYLE)],
        columns=_PANEL_COLUMNS,
        rows=_PANEL_ROWS,
    )
    y_range = f"y from {min(curve.y):.3g} to {max(curve.y):.3g}"
    return Panel(picture, title=curve.name, subtitle=y_range, expand=False)
