"""`tuner doctor`.

`tuner db`: back the database up, bring it up to date.

`tuner sync`.
"""

import contextlib
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from tuner.cli.app import Json, StudyName, new_typer, settings_of
from tuner.cli.output import console, print_json, say

app = new_typer("Back the database up, bring it up to date, say where it lives.")


@app.command("backup")
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.", metavar="FILE")],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE where it exists.")] = False,
) -> None:
    """Copy the database into one file, also while searches run.

    Example: tuner db backup tuner-monday.db

    The copy is a database too: tuner --storage sqlite:///tuner-monday.db study list
    """
    from tuner.cli.database_access import no_study
    from tuner.cli.output import say
    from tuner.storage import exists
    from tuner.storage.read_only import back_up_to

    url = settings_of(context).storage
    if not exists(url):
        raise no_study()
    size = back_up_to(url, file, force)
    say(f"wrote {file} ({size / 2**20:.1f} MiB)")


@app.command("upgrade")
def upgrade(context: typer.Context) -> None:
    """Bring the tables of an older tuner or Optuna up to date.

    Example: tuner db upgrade

    A SQLite file is backed up first, and upgraded by every command that writes; this one does it
    now. A PostgreSQL database is upgraded by this command alone: all who use the database need the
    new version then. Save it first, by pg_dump.
    """
    from tuner.cli.database_access import no_study
    from tuner.cli.output import say
    from tuner.storage import upgrade_database

    done = upgrade_database(settings_of(context).storage)
    if done is None:
        raise no_study()
    before = done.before
    if before.ready and not before.optuna_is_older:
        say(f"nothing to upgrade: tuner {before.ours}, Optuna {before.optuna}")
        return
    if not before.ready:
        say(f"tuner's tables: from {before.ours} to {before.ours_expected}")
    if before.optuna_is_older:
        say(f"Optuna's tables: from {before.optuna} to {before.optuna_expected}")
    if done.backup is not None:
        say(f"as it was before: {done.backup}")


def sync(
    context: typer.Context,
    study: StudyName = None,
    every: Annotated[bool, typer.Option("--all", help="All studies of the database.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; say where MLflow differs from SQL.")
    ] = False,
    log_models: Annotated[
        Literal["best", "all", "none"], typer.Option(help="Which models go to MLflow.")
    ] = "best",
    as_json: Json = False,
) -> None:
    """Make MLflow's runs what SQL says: after MLflow was down, emptied, or is another one.

    Example: tuner sync mlp-digits

    The exit code is 1 while MLflow lacks something, or with --check, while it differs.
    """
    from tuner.cli.database_access import look_at_studies, open_studies
    from tuner.cli.residence import check_settled
    from tuner.cli.result_commands import print_checked, print_synced
    from tuner.tracking.sync import check_study, sync_study

    settings = settings_of(context)
    uri, networks = settings.tracking_uri, settings.checkpoints
    if check:
        store, rows = look_at_studies(context, study, every)
        found = [check_study(store, uri, row, log_models, networks) for row in rows]
        raise typer.Exit(print_checked(found, as_json))
    store, rows = open_studies(context, study, every)
    check_settled(store, "sync")
    done = [sync_study(store, uri, row, log_models, networks) for row in rows]
    raise typer.Exit(print_synced(done, as_json))


if TYPE_CHECKING:
    from tuner.doctor import Finding

_MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}
_NAME_WIDTH = 11
_INDENT = 4 + 2 + _NAME_WIDTH + 2


def doctor(
    context: typer.Context,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out TensorFlow, which takes seconds to start.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look at everything a search needs, and say what to do where something is wrong.

    Example: tuner doctor --quick

    Nothing is changed. The exit code is 1 when a check has failed; warnings are no failures.
    """
    from tuner.doctor import examine

    settings = settings_of(context)
    printer = _Printer(as_json)
    findings = []
    with printer.watched() as stage:
        for finding in examine(settings, quick, stage):
            findings.append(finding)
            printer.say(finding)
    states = Counter(finding.state for finding in findings)
    if as_json:
        print_json({"ok": not states["fail"], "checks": [vars(one) for one in findings]})
    else:
        say(f"\n{_summary(states['fail'], states['warn'])}")
    raise typer.Exit(1 if states["fail"] else 0)


class _Printer:
    """Findings as they come; in a terminal also what is being looked at."""

    def __init__(self, silent: bool) -> None:
        self._silent, self._out = silent, console()
        terminal = self._out.is_terminal and not silent
        self._width = self._out.width if terminal else sys.maxsize
        self._status = self._out.status("") if terminal else None

    @contextlib.contextmanager
    def watched(self) -> Iterator[Callable[[str], None]]:
        if self._status is None:
            yield lambda text: None
            return
        with self._status as status:
            yield lambda text: status.update(f"[dim]{text} …[/dim]")

    def say(self, finding: "Finding") -> None:
        if self._silent:
            return
        mark, style = _MARKS[finding.state]
        name = f"{finding.check:<{_NAME_WIDTH}}"
        found = self._wrapped(finding.found)
        self._print(Text.assemble((f"{mark:<4}", style), "  ", (name, "bold"), "  ", found))
        if finding.advice:
            self._print(Text(" " * _INDENT + self._wrapped(f"→ {finding.advice}"), "cyan"))

    def _print(self, text: Text) -> None:
        self._out.print(text, soft_wrap=True)

    def _wrapped(self, text: str) -> str:
        """In the lines of its column; words, which may be commands or paths, are kept whole."""
        width = max(30, self._width - _INDENT)
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
        return ("\n" + " " * _INDENT).join(lines)


def _summary(failed: int, warned: int) -> str:
    from tuner.doctor.findings import counted

    told = [f"{counted(failed, 'check')} failed"] if failed else []
    told += [counted(warned, "warning")] if warned else []
    return ", ".join(told) or "all is well"
