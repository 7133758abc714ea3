"""The command tree and what all commands share.

Values of options that need more than a type.
"""

import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from tuner.errors import UsageError
from tuner.settings import Settings, load_settings
from tuner.system.logs import log_to_stderr
from tuner.system.names import remember_options

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def seconds(text: str, option: str = "--timeout") -> float:
    """Seconds from 90s, 30m, 1.5h or 2d. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not match or float(match[1]) <= 0:
        raise UsageError(f"{option} must be a time such as 90s, 30m or 2h, got {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def size(text: str, option: str = "--data-memory") -> float:
    """Bytes from 512MiB, 4G or 1.5GiB: powers of 1024. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise UsageError(f"{option} must be a size such as 512MiB or 4GiB, got {text!r}")
    return float(match[1]) * _SIZES[match[2].upper()]


if TYPE_CHECKING:
    from tuner.storage import Store


@dataclass
class CommandSession:
    """The global options, resolved. `store`: the database, once it was opened for work."""

    settings: Settings
    traceback: bool
    store: "Store | None" = None


class Escaped(Exception):
    """What a command raised, kept from Typer: it takes each EOFError for a user who left, and each
    broken pipe for a reader of ours that did, where it may have been a process of ours that
    died."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = error


class _Commands(TyperGroup):
    def invoke(self, context: Any) -> Any:
        try:
            return super().invoke(context)
        except (EOFError, BrokenPipeError, KeyboardInterrupt) as error:
            raise Escaped(error) from error


def new_typer(help_text: str, cls: type[TyperGroup] = TyperGroup) -> typer.Typer:
    return typer.Typer(
        cls=cls,
        help=help_text,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


app = new_typer(
    "Hyperparameter search for Keras networks.\n\n"
    "Example: [bold]tuner study create --data digits[/bold], then "
    "[bold]tuner optimize --trials 100[/bold]",
    cls=_Commands,
)


def _version(wanted: bool) -> None:
    if wanted:
        from tuner.settings import tuner_version

        typer.echo(f"tuner {tuner_version()}")
        raise typer.Exit


@contextmanager
def ending_in_order() -> Iterator[None]:
    """However a command ends, its databases are closed. SIGTERM, and the terminal's end, interrupt
    it as Ctrl-C does."""
    try:
        with _interruptible():
            yield
    finally:
        # Not imported by a command that opens none: `--help` should be quick.
        if (storage := sys.modules.get("tuner.storage")) is not None:
            storage.close_all()


@contextmanager
def _interruptible() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = [signal.SIGTERM, signal.SIGHUP]
    # nohup ignores the latter, and so do we then.
    caught = [each for each in signals if signal.getsignal(each) == signal.SIG_DFL]
    for each in caught:
        signal.signal(each, signal.default_int_handler)
    try:
        yield
    finally:
        for each in caught:
            signal.signal(each, signal.SIG_DFL)


@app.callback()
def root(
    context: typer.Context,
    storage: Annotated[
        str | None,
        typer.Option(help="Database of the studies.  (default: sqlite:///tuner.db)", metavar="URL"),
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(help="MLflow's store or server.", metavar="URI"),
    ] = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show errors in full.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show on stderr what tuner does.  (default: off)")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.with_resource(ending_in_order())
    log_to_stderr(verbose=verbose)
    remember_options(storage, tracking_uri)
    context.obj = CommandSession(load_settings(storage, tracking_uri), traceback)


def settings_of(context: typer.Context) -> Settings:
    settings: Settings = context.obj.settings
    return settings


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
StudyName = Annotated[
    str | None, typer.Argument(help="The study; without it the newest search.", metavar="[STUDY]")
]
TrustCode = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HASH",
        help="Let the study's own code with this SHA-256 run on this machine; may be repeated.",
    ),
]
