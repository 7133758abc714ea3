"""The pictures of the README, made by a real search: python -m benchmarks.pictures [FOLDER]

terminal.svg   a search while it runs, and its result
history.png    the chart of its history
"""

import copy
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

STUDY = ["study", "create", "--data", "digits", "--epochs", "20"]
SEARCH = ["optimize", "--trials", "60", "--workers", "2"]
# The live display is shown when so many trials have ended.
SHOWN_AT = 24
WIDTH = 100
# Rich's own format loads a font from another site.
SVG_FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


class Watch:
    """Keeps the search's state at the moment that is shown."""

    status: Any = None

    def changed(self, status: Any) -> None:
        is_busy = all(worker.value is not None for worker in status.workers)
        if status.done >= SHOWN_AT and is_busy and self.status is None:
            self.status = copy.deepcopy(status)


@contextmanager
def watched() -> Iterator[Watch]:
    """Inside, the display of a search is watched."""
    from tuner.cli.live_display import Display

    watch, before = Watch(), Display.changed

    def changed(self: Any, status: Any) -> None:
        watch.changed(status)
        before(self, status)

    Display.changed = changed  # type: ignore[method-assign]
    try:
        yield watch
    finally:
        Display.changed = before  # type: ignore[method-assign]


def run(words: Sequence[str]) -> str:
    """What the command prints."""
    from tuner.cli.commands import app

    output = io.StringIO()
    with redirect_stdout(output):
        app(list(words), standalone_mode=False)
    return output.getvalue()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        created = run(STUDY)
        with watched() as watch:
            searched = run(SEARCH)
        run(["study", "plot", "history", "--save", str(folder / "history.png")])
        draw_terminal(created, searched, watch, folder / "terminal.svg")


def draw_terminal(created: str, searched: str, watch: Watch, file: Path) -> None:
    """The commands with what they print: the new best trials and the live display, as they stood
    when the display was watched, then the result."""
    from tuner.cli.live_display import Picture

    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False
    )
    lines, _, result = searched.partition("\nstudy ")
    early = [
        line for line in lines.splitlines()
        if "new best" in line and int(line.split("/")[0]) <= watch.status.done
    ]  # fmt: skip
    _print_command(console, STUDY)
    _print(console, created.splitlines())
    console.print()
    _print_command(console, SEARCH)
    _print(console, early)
    console.print(Picture(watch.status, "val_accuracy"))
    console.print()
    console.print(Text("… and when it has ended:", style="dim italic"))
    _print(console, ["", *f"study {result}".splitlines()])
    console.save_svg(str(file), title="tuner", code_format=SVG_FORMAT)


def _print_command(console: Console, words: Sequence[str]) -> None:
    console.print(Text.assemble(("$ ", "bold green"), (" ".join(["tuner", *words]), "bold")))


def _print(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(Text(line), soft_wrap=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs").resolve())
