"""What pages take from the code when they are built: each `<!-- generated: NAME -->` is replaced by
the Markdown that GENERATED[NAME] returns. So no page has a copy that could grow old."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

import typer.main
from mkdocs.exceptions import PluginError

from tuner.cli.commands import app
from tuner.search_space.reference import reference_markdown
from tuner.settings import VARIABLES
from tuner.study.metrics import metric_entries

_MARK = re.compile(r"<!-- generated: (\S+) -->")
# Only what a page loads by itself: a link to click on may lead anywhere.
_FETCHED = re.compile(
    r"<(?:script|img|iframe|link)\b(?![^>]*\brel=\"?(?:canonical|next|prev)\b)[^>]*"
    r"\b(?:src|href)=\"?(?:https?:)?//[^\">]*"
)


def _markdown_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(columns)]
    lines += [["---"] * len(lines[0]), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _variables() -> str:
    rows = [(f"`{each.name}`", each.meaning, f"`{each.default}`") for each in VARIABLES]
    return _markdown_table(("variable", "meaning", "default"), rows)


def _metrics() -> str:
    rows = [
        (f"`{each.metric}`", each.tasks, each.direction, each.unit, each.meaning)
        for each in metric_entries()
    ]
    return _markdown_table(("metric", "for", "direction", "unit", "meaning"), rows)


def _commands() -> str:
    tree: Any = typer.main.get_command(app)
    lead = "Options of every command, given before its name:"
    return "\n\n".join([lead, *_options(tree, "tuner"), *_command_parts(tree, "tuner")])


def _command_parts(group: Any, path: str) -> Iterator[str]:
    """The sections of a group's commands, in Markdown."""
    for name, command in group.commands.items():
        whole = f"{path} {name}"
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield f"## {whole}"
            yield from map(_paragraph, command.help.split("\n\n"))
            if command.invoke_without_command:  # it is a command too
                yield from _options(command, whole)
            yield from (part.replace("\n## ", "\n### ") for part in _command_parts(command, whole))
            continue
        yield f"{'##' if path == 'tuner' else '###'} {whole}"
        yield from map(_paragraph, inspect.cleandoc(command.help).split("\n\n"))
        yield from _options(command, whole)


def _paragraph(text: str) -> str:
    example = text.removeprefix("Example: ")
    return text if example == text else f"```\n{example}\n```"


def _options(command: Any, path: str) -> Iterator[str]:
    """The table of a command's arguments and options, if it has any."""
    rows = [_row(each, path) for each in command.params if not each.hidden]
    if rows:
        yield _markdown_table(("option", "meaning", "default"), rows)


def _row(option: Any, path: str) -> tuple[str, str, str]:
    is_argument = option.param_type_name == "argument"
    names = [] if is_argument else option.opts
    choices = "|".join(map(str, get_args(option.type_descriptor.annotation)))
    value = option.metavar or ("" if option.metavar == "" else choices)
    words = f"{', '.join(names)} {value}".strip()
    default = option.show_default
    if not isinstance(default, str):
        default = "" if option.default is None else str(option.default)
    default = "required" if option.required else default
    return f"`{words}`", _plain(option.help or ""), _plain(default)


def _plain(text: str) -> str:
    """The text as Markdown that shows it as it is."""
    return re.sub(r"([*_<|`\[])", r"\\\1", text)


GENERATED: dict[str, Callable[[], str]] = {
    "commands": _commands,
    "metrics": _metrics,
    "parameters": reference_markdown,
    "variables": _variables,
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """MkDocs calls it for each page. Raises PluginError for a name that is not in GENERATED."""

    def generate(match: re.Match[str]) -> str:
        if match[1] not in GENERATED:
            known = ", ".join(GENERATED)
            raise PluginError(f"{page.file.src_path}: {match[0]} is not one of {known}")
        return GENERATED[match[1]]()

    return _MARK.sub(generate, markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Raises PluginError for a page that would load something from elsewhere."""
    if (match := _FETCHED.search(output)) is not None:
        raise PluginError(f"{page.file.src_path}: the page would fetch {match[0]}")
    return output
