"""`tuner doctor`."""

import contextlib
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from tuner.cli.app import Json, flag, settings_of
from tuner.cli.output import console, print_json, say

if TYPE_CHECKING:
    from tuner.doctor import Finding

_MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}
_NAME_WIDTH = 11
_INDENT = 4 + 2 + _NAME_WIDTH + 2


def doctor(
    context: typer.Context,
    quick: Annotated[
        bool, flag("--quick", text="Skip TensorFlow, which takes seconds to start.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check everything a search needs, and say what to do where something is wrong.

    Example: tuner doctor --quick

    Nothing is changed. The exit code is 1 if a check has failed. Warnings are no failures.
    """
    from tuner.doctor import examine

    printer = _Printer(silent=as_json)
    findings = []
    with printer.watch() as stage:
        for finding in examine(settings_of(context), quick, stage):
            findings.append(finding)
            printer.print_finding(finding)
    states = Counter(finding.state for finding in findings)
    if as_json:
        print_json({"ok": not states["fail"], "checks": [_as_json(each) for each in findings]})
    else:
        say(f"\n{_summary(states['fail'], states['warn'])}")
    raise typer.Exit(1 if states["fail"] else 0)


def _as_json(finding: "Finding") -> dict[str, str | None]:
    return {
        "check": finding.check,
        "state": finding.state,
        "found": finding.message,
        "advice": finding.advice,
    }


class _Printer:
    """Prints findings as they come; in a terminal also the name of the check that runs."""

    def __init__(self, silent: bool) -> None:
        self._silent, self._out = silent, console()
        terminal = self._out.is_terminal and not silent
        self._width = self._out.width if terminal else sys.maxsize
        self._status = self._out.status("") if terminal else None

    @contextlib.contextmanager
    def watch(self) -> Iterator[Callable[[str], None]]:
        """A function that takes the name of the check that begins."""
        if self._status is None:
            yield lambda text: None
            return
        with self._status as status:
            yield lambda text: status.update(f"[dim]{text} …[/dim]")

    def print_finding(self, finding: "Finding") -> None:
        if self._silent:
            return
        mark, style = _MARKS[finding.state]
        name = f"{finding.check:<{_NAME_WIDTH}}"
        text = self._wrap(finding.message)
        self._print(Text.assemble((f"{mark:<4}", style), "  ", (name, "bold"), "  ", text))
        if finding.advice:
            self._print(Text(" " * _INDENT + self._wrap(f"→ {finding.advice}"), "cyan"))

    def _print(self, text: Text) -> None:
        self._out.print(text, soft_wrap=True)

    def _wrap(self, text: str) -> str:
        """Lines of the column's width. Long words stay whole: they may be commands or paths."""
        width = max(30, self._width - _INDENT)
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
        return ("\n" + " " * _INDENT).join(lines)


def _summary(failed: int, warned: int) -> str:
    from tuner.doctor.findings import counted

    parts = [f"{counted(failed, 'check')} failed"] if failed else []
    parts += [counted(warned, "warning")] if warned else []
    return ", ".join(parts) or "all checks passed"
