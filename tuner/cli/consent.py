"""Asking whether code from a database may run on this machine."""

import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import typer

from tuner.errors import CodeError
from tuner.manage.trust import Code, UntrustedCode, agree_to_code, require_trusted, trust_code
from tuner.settings import Settings
from tuner.storage.studies import StudyRow
from tuner.study.spec import StudySpec
from tuner.system.logs import without_secrets
from tuner.system.names import command, in_command, printable

_LINES_SHOWN = 60

T = TypeVar("T")


def confirm_code(
    settings: Settings, spec: StudySpec, name: str | None, hashes: Sequence[str]
) -> None:
    """Before a study's code runs: agree to the given hashes, and ask about the rest. `name`: the
    study's, as it is written in a command. Raises CodeError where nobody can be asked, or the
    answer is no."""
    if hashes:
        agree_to_code(spec, settings, hashes)
    try:
        require_trusted(spec, settings)
    except UntrustedCode as error:
        _ask(settings, error, in_command(name or ""))


def confirming(
    work: Callable[[], T], settings: Settings, row: StudyRow, hashes: Sequence[str]
) -> T:
    """What `work` gives; where it needs code that is not trusted yet, after asking."""
    if hashes:
        agree_to_code(row.spec, settings, hashes)
    try:
        return work()
    except UntrustedCode:
        confirm_code(settings, row.spec, row.name, ())
        return work()


def _ask(settings: Settings, error: UntrustedCode, name: str) -> None:
    all_of_it = command("study", "code", name)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CodeError(
            f"{error}; read it with: {all_of_it}; then let it run with: {_agreeing(error.codes)}"
        ) from error
    for code in error.codes:
        lines = code_lines(code)
        typer.echo("\n".join(lines[:_LINES_SHOWN]), err=True)
        if len(lines) > _LINES_SHOWN:
            rest = len(lines) - _LINES_SHOWN
            typer.echo(f"… and {rest} more lines; all of it: {all_of_it}", err=True)
    what = "this file" if len(error.codes) == 1 else f"these {len(error.codes)} files"
    if not typer.confirm(f"run {what} from the database on this machine?", err=True):
        raise CodeError("the study's code was not trusted, and nothing was run") from error
    trust_code(settings, [code.sha256 for code in error.codes])


def _agreeing(codes: Sequence[Code]) -> str:
    """This command, with the options that agree to all of these."""
    words = [without_secrets(word) for word in sys.argv[1:]]
    options = [word for code in codes for word in ("--trust-code", code.sha256)]
    return printable(shlex.join(["tuner", *words, *options]))


def code_lines(code: Code) -> list[str]:
    """A file of code for people to judge: nothing in it reaches the terminal as a command, or
    hides what follows."""
    head = f"{printable(code.path)}: {len(code.content):,} bytes, SHA-256 {code.sha256}"
    return [head, *(f"  {_visible(line)}" for line in code.text.split("\n"))]


def _visible(line: str) -> str:
    return printable(line.replace("\t", "    "))
