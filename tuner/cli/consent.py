"""Questions to the user: may code from a database run here, and may a study be deleted?"""

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

import typer

from tuner.cli.output import one_line
from tuner.errors import CodeError
from tuner.manage.carried_code import Code, UntrustedCode, needed_by_study
from tuner.settings import Settings
from tuner.system.names import command, in_command, printable
from tuner.system.secret_masking import without_secrets

if TYPE_CHECKING:
    from tuner.storage import Store
    from tuner.storage.studies import StudyRow
    from tuner.study.spec import StudySpec

_LINES_SHOWN = 60

T = TypeVar("T")


def confirm_code(
    settings: Settings, spec: "StudySpec", name: str | None, hashes: Sequence[str]
) -> None:
    """Before a study's code runs: accept the given hashes, and ask about all other files. `name`:
    the study's name, for suggested commands. Raises CodeError if nobody can be asked, or the
    answer is no."""
    from tuner.manage.trust import agree_to_code, require_trusted

    if hashes:
        agree_to_code(spec, settings, hashes)
    try:
        require_trusted(spec, settings)
    except UntrustedCode as error:
        error.source = in_command(name or "")
        _ask_about_code(settings, error)


def with_consent(work: Callable[[], T], settings: Settings) -> T:
    """The result of `work`. If it needs code that is not trusted yet, ask, and call it again."""
    try:
        return work()
    except UntrustedCode as error:
        _ask_about_code(settings, error)
        return work()


@contextmanager
def entered_with_consent(
    open_context: Callable[[], AbstractContextManager[T]], settings: Settings
) -> Iterator[T]:
    """The same for what entering a context gives."""
    with ExitStack() as stack:
        yield with_consent(lambda: stack.enter_context(open_context()), settings)


def with_trusted_code(
    work: Callable[[], T], settings: Settings, row: "StudyRow", hashes: Sequence[str]
) -> T:
    """As `with_consent`, for a study's code, of which these hashes are trusted from now on."""

    def study_work() -> T:
        with needed_by_study(row.name):
            return work()

    from tuner.manage.trust import agree_to_code

    if hashes:
        agree_to_code(row.spec, settings, hashes)
    return with_consent(study_work, settings)


def _ask_about_code(settings: Settings, error: UntrustedCode) -> None:
    from tuner.manage.trust import trust_code

    show_code = command("study", "code", error.source)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CodeError(
            f"{error}; read it with: {show_code}; then allow it with: "
            + _accepting_command(error.codes)
        ) from error
    for code in error.codes:
        lines = code_lines(code)
        typer.echo("\n".join(lines[:_LINES_SHOWN]), err=True)
        if len(lines) > _LINES_SHOWN:
            rest = len(lines) - _LINES_SHOWN
            typer.echo(f"… and {rest} more lines; the whole file: {show_code}", err=True)
    what = "this file" if len(error.codes) == 1 else f"these {len(error.codes)} files"
    if not typer.confirm(f"run {what} on this machine?", err=True):
        raise CodeError("the code was not trusted, and nothing was run") from error
    trust_code(settings, error.hashes)


def _accepting_command(codes: Sequence[Code]) -> str:
    """This command, with the options that accept all of these files."""
    words = [without_secrets(word) for word in sys.argv[1:]]
    options = [word for code in codes for word in ("--trust-code", code.sha256)]
    return printable(shlex.join(["tuner", *words, *options]))


def code_lines(code: Code) -> list[str]:
    """A file of code for people to read. Control characters are written out, so that none can
    hide lines or reach the terminal."""
    head = f"{printable(code.path)}: {len(code.content):,} bytes, SHA-256 {code.sha256}"
    return [head, *(f"  {_printable_line(line)}" for line in code.text.split("\n"))]


def _printable_line(line: str) -> str:
    return printable(line.replace("\t", "    "))


def confirm_deletion(store: "Store", study: "StudyRow") -> None:
    """Ask whether a study may be deleted. Raises typer.Abort if the answer is no."""
    from tuner.storage.trials import count_trials

    count = count_trials(store, study)
    typer.confirm(
        f"delete study {one_line(study.name)} with its {count} trials, saved networks and "
        "MLflow runs?",
        abort=True,
    )
