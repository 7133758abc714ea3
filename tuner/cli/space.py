"""`tuner space`: look at search spaces."""

from typing import Annotated

import typer

from tuner.cli.app import Json, new_typer

app = new_typer("Look at search spaces.")


@app.command("list")
def list_spaces(as_json: Json = False) -> None:
    """The spaces that ship with tuner.

    Example: tuner space list
    """
    from tuner.cli.output import show_rows
    from tuner.space import load_space, shipped_spaces

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
    from tuner.space import load_file

    file = load_file(space)
    loaded = file.space
    points = loaded.grid_size()
    if as_json:
        facts = {"network": loaded.network, "data": file.data, "grid_points": points}
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
    from tuner.space.reference import entries, markdown

    if as_markdown and not as_json:
        print(markdown())
        return
    if as_json:
        print_json([entry._asdict() for entry in entries()])
        return
    for group, found in groupby(entries(), key=lambda entry: entry.group):
        rows = [entry._asdict() for entry in found]
        show_rows([{k: v for k, v in row.items() if k != "group"} for row in rows], False, group)


@app.command("schema")
def schema() -> None:
    """The JSON Schema of a search-space file, for editors.

    Example: tuner space schema > space.schema.json
    """
    from tuner.cli.output import print_json
    from tuner.space import space_schema

    print_json(space_schema())
