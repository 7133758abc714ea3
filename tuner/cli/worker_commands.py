"""`tuner worker`: the daemon, and who is at work."""

import contextlib
import logging
import signal
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.app import Json, Notify, NoTracking, new_typer, settings_of
from tuner.system.logs import log_format

logger = logging.getLogger(__name__)

app = new_typer(
    "Train the trials of all studies of the database, until a signal ends it.\n\n"
    "Example: tuner worker\n\n"
    "It takes every study that has trials left (tuner study create --trials 100), those of a "
    "higher priority first, on all cores, and waits for new ones. Ctrl-C or SIGTERM ends it within "
    "a few seconds: running trials are put back, and any other worker goes on with them.",
    needs_command=False,
)


class TimedLines:
    """Prints lines with the time of day, from any thread; where logs are JSON, they are records on
    stderr instead. Where the output cannot be written, the worker goes on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def tell(self, line: str) -> None:
        from tuner.cli.output import say

        if log_format() == "json":
            logger.info("%s", line)
            return
        with self._lock, contextlib.suppress(OSError, ValueError):
            say(f"{time.strftime('%H:%M:%S')} {line}")


@app.callback()
def worker(
    context: typer.Context,
    studies: Annotated[
        list[str] | None,
        typer.Option(
            "--studies",
            help="Take only studies whose names match, such as 'vision-*'. May be repeated.",
            metavar="PATTERN",
            show_default="all studies",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            help="The number of worker processes, for all studies together.",
            metavar="N",
            show_default="one per GPU; without a GPU one per core that has 1 GiB of memory",
        ),
    ] = None,
    no_tracking: NoTracking = False,
    trust_code: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HASH",
            help="Allow code with this SHA-256 to run on this machine, from now on. May be "
            "repeated.",
            show_default="none",
        ),
    ] = None,
    notify: Notify = None,
    health_file: Annotated[
        Path | None,
        typer.Option(
            help="Write what the worker does to this file, as JSON, every few seconds.",
            metavar="FILE",
            show_default="no file",
        ),
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(
            help="Answer GET /health, /alive and /metrics on this port.",
            metavar="PORT",
            show_default="no port",
        ),
    ] = None,
    health_host: Annotated[
        str | None,
        typer.Option(
            help="The address of --health-port. 0.0.0.0 lets other machines in, without a login.",
            metavar="ADDRESS",
            show_default="127.0.0.1",
        ),
    ] = None,
) -> None:
    """Run the daemon, unless one of the group's commands was called."""
    if context.invoked_subcommand is not None:
        return
    from tuner.cli.database_access import open_database
    from tuner.service.daemon_start import WorkerWanted, run_worker

    wanted = WorkerWanted(
        patterns=tuple(studies or ()),
        processes=processes,
        tracking=not no_tracking,
        trusted=tuple(trust_code or ()),
        notify=tuple(notify or ()),
        health_file=health_file,
        health_port=health_port,
        health_host=health_host,
    )
    wanted.check()  # a mistake is reported before the database is opened
    number = run_worker(settings_of(context), open_database(context), wanted, TimedLines().tell)
    if number == signal.SIGINT:
        raise typer.Exit(130)


@app.command("list")
def list_workers(context: typer.Context, as_json: Json = False) -> None:
    """List who is at work: workers and searches in the foreground, on what, since when.

    Example: tuner worker list
    """
    from tuner.cli.database_access import read_database
    from tuner.cli.output import say, show_rows
    from tuner.reports.worker_tables import short_worker_rows, worker_rows
    from tuner.system.names import command, printable

    store = read_database(context)
    rows = [] if store is None else worker_rows(store)
    if as_json:
        show_rows(rows, as_json)
        return
    if not rows:
        say(f"nobody is at work; to begin: {command('worker')}")
        return
    show_rows(short_worker_rows(rows), as_json)
    for row in rows:
        for name, reason in row["skipped"].items():
            say(f"{printable(row['host'])} (pid {row['pid']}) skips {printable(name)}: {reason}")
