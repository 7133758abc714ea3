"""`tuner space`: look at search spaces.

`tuner activations`: what the activations look like.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.app import Json, new_typer

app = new_typer("Look at search spaces.")


@app.command("list")
def list_spaces(as_json: Json = False) -> None:
    """The spaces that ship with tuner.

    Example: tuner space list
    """
    from tuner.cli.output import show_rows
    from tuner.search_space import load_space, shipped_spaces

    rows = []
    for name, path in shipped_spaces().items():
        space = load_space(name)
        rows.append(
            {
                "name": name,
                "network": space.network,
                "varies": " ".join(space.varying()),
                "file": str(path),
            }
        )
    show_rows(rows, as_json)


@app.command("show")
def show(
    space: Annotated[str, typer.Argument(help="A shipped name, or a path to a YAML file.")],
    as_json: Json = False,
) -> None:
    """A space's parameters, and the number of grid points where that is finite.

    Example: tuner space show mlp
    """
    from tuner.cli.output import print_json, say, show_rows
    from tuner.search_space import load_file
    from tuner.training.program_key import slower_space_reason

    file = load_file(space)
    loaded = file.space
    reason = slower_space_reason(loaded)
    points = loaded.grid_size()
    if as_json:
        facts = {"network": loaded.network, "data": file.data, "grid_points": points}
        facts["slower_engine_reason"] = reason
        print_json(
            facts
            | {
                "parameters": [row._asdict() for row in loaded.rows()],
                "baselines": loaded.baselines,
            }
        )
        return
    data = ", ".join(f"{name} {value}" for name, value in file.data.items())
    title = f"network: {loaded.network}" + (f";  data: {data}" if data else "")
    if reason is not None:
        title += f";  engine: keras, because {reason}"
    show_rows([row._asdict() for row in loaded.rows()], as_json, title)
    known = "not finite: a float without step" if points is None else f"{points:,}"
    say(f"grid points: {known};  baselines tried first: {len(loaded.baselines)}")


@app.command("parameters")
def parameters(
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, as in the README.")
    ] = False,
    as_json: Json = False,
) -> None:
    """All parameters that a space file can search or fix, with their values and meaning.

    Example: tuner space parameters
    """
    from itertools import groupby

    from tuner.cli.output import print_json, show_rows
    from tuner.search_space.reference import reference_entries, reference_markdown

    if as_markdown and not as_json:
        print(reference_markdown())
        return
    if as_json:
        print_json([entry._asdict() for entry in reference_entries()])
        return
    for group, found in groupby(reference_entries(), key=lambda entry: entry.group):
        rows = [entry._asdict() for entry in found]
        show_rows([{k: v for k, v in row.items() if k != "group"} for row in rows], False, group)


@app.command("schema")
def schema() -> None:
    """The JSON Schema of a search-space file, for editors.

    Example: tuner space schema > space.schema.json
    """
    from tuner.cli.output import print_json
    from tuner.search_space import space_schema

    print_json(space_schema())


if TYPE_CHECKING:
    from rich.console import RenderableType

    from tuner.reports.activation_curves import Drawn

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
    from tuner.cli.output import print_json, say
    from tuner.reports.activation_curves import check_drawing, curves, save_drawing

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

    from tuner.cli.output import drawn

    value, slope = (list(zip(one.x, curve, strict=True)) for curve in (one.y, one.derivative))
    picture = drawn([(slope, _SLOPE), (value, _VALUE)], _COLUMNS, _ROWS)
    low, high = min(one.y), max(one.y)
    return Panel(picture, title=one.name, subtitle=f"y from {low:.3g} to {high:.3g}", expand=False)
