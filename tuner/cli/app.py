"""The root command, and what all commands share: options, and the values they take."""

import inspect
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import Default

from tuner.errors import UsageError
from tuner.settings import Settings, load_settings
from tuner.system.logs import log_to_stderr, set_log_format
from tuner.system.names import remember_options

if TYPE_CHECKING:
    from tuner.storage import Store


@dataclass
class CommandSession:
    """The global options, resolved. `store`: the database, once it was opened for writing."""

    settings: Settings
    traceback: bool
    store: "Store | None" = None


class UncaughtError(Exception):
    """Carries an exception past Typer, which turns every EOFError into an abort by the user and
    every broken pipe into a quiet exit. Either may come from a child process that died."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = error


class _Group(TyperGroup):
    """A group that points from a mistyped command to the nearest one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.help = _flowing(self.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0].startswith("-") or self.get_command(ctx, args[0]) is not None:
            return super().resolve_command(ctx, args)
        from tuner.cli.nearest import unknown_command

        options = ctx.find_root().params
        remember_options(options["storage"], options["tracking_uri"])
        raise UsageError(unknown_command(ctx, args))


class _RootGroup(_Group):
    def invoke(self, context: Any) -> Any:
        try:
            return super().invoke(context)
        except (EOFError, BrokenPipeError, KeyboardInterrupt) as error:
            raise UncaughtError(error) from error


class _Command(TyperCommand):
    """A command whose help flows to the width of the terminal."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.help = _flowing(self.help)


def _flowing(help_text: str | None) -> str:
    """A docstring with a line for each paragraph. Typer would keep its line breaks."""
    paragraphs = inspect.cleandoc(help_text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)


class CommandGroup(typer.Typer):
    """A group of commands."""

    def command(self, name: str | None = None, **options: Any) -> Any:
        return super().command(name, cls=_Command, **options)


def new_typer(
    help_text: str | None = None, cls: type[TyperGroup] = _Group, needs_command: bool = True
) -> CommandGroup:
    """A group of commands with tuner's settings. `needs_command`: False where its name alone is a
    command too, the group's callback. Without a help text, that of its callback."""
    return CommandGroup(
        cls=cls,
        help=Default(None) if help_text is None else help_text,
        no_args_is_help=needs_command,
        invoke_without_command=not needs_command,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


app = new_typer(
    "Hyperparameter search for Keras networks.\n\n"
    "Example: [bold]tuner study create --data digits[/bold], then "
    "[bold]tuner optimize --trials 100[/bold]",
    cls=_RootGroup,
)


def flag(*names: str, text: str, **options: Any) -> Any:
    """An option without a value. `names`: as they are typed, such as "--json"."""
    return typer.Option(*names, help=text, metavar="", show_default="off", **options)


def _print_version(is_given: bool) -> None:
    if is_given:
        from tuner.settings import tuner_version

        typer.echo(f"tuner {tuner_version()}")
        raise typer.Exit


@contextmanager
def closing_databases() -> Iterator[None]:
    """Close all databases, however the command ends. SIGTERM and a closed terminal interrupt it
    as Ctrl-C does."""
    try:
        with _interruptible():
            yield
    finally:
        # Commands that open no database do not import this module: `--help` should be quick.
        if (opened := sys.modules.get("tuner.storage.store")) is not None:
            opened.close_all()


@contextmanager
def _interruptible() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = [signal.SIGTERM, signal.SIGHUP]
    # nohup ignores SIGHUP; keep it ignored then.
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
        typer.Option(
            help="The database of the studies, such as postgresql://user@host/db.",
            metavar="URL",
            show_default="TUNER_STORAGE, or sqlite:///tuner.db",
        ),
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            help="MLflow's store or server, such as http://127.0.0.1:5000.",
            metavar="URI",
            show_default="MLFLOW_TRACKING_URI, or mlflow.db beside the database",
        ),
    ] = None,
    traceback: Annotated[
        bool, flag("--traceback", text="Print the Python traceback of an error too.")
    ] = False,
    verbose: Annotated[bool, flag("--verbose", text="Print on stderr what tuner does.")] = False,
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(
            help="How messages on stderr and the log of a search are written: json is an object "
            "in each line, with all that tuner does."
        ),
    ] = "text",
    version: Annotated[
        bool,
        flag("--version", text="Print the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    context.with_resource(closing_databases())
    set_log_format(log_format)
    log_to_stderr(verbose=verbose)
    remember_options(storage, tracking_uri)
    context.obj = CommandSession(load_settings(storage, tracking_uri), traceback)


def settings_of(context: typer.Context) -> Settings:
    """The settings that hold for this command."""
    settings: Settings = context.obj.settings
    return settings


def data_option(text: str, default: str) -> Any:
    """An option that takes a data source."""
    return typer.Option("--data", help=text, metavar="SOURCE", show_default=default)


Json = Annotated[bool, flag("--json", text="Print JSON instead of text.")]
NoTracking = Annotated[
    bool, flag("--no-tracking", text="Do not write to MLflow. SQL still has everything.")
]
StudyName = Annotated[
    str | None,
    typer.Argument(help="The study's name.", metavar="STUDY", show_default="the newest search"),
]
InStudy = Annotated[
    str | None,
    typer.Option(
        "--study", help="The study's name.", metavar="STUDY", show_default="the newest search"
    ),
]
SavedNetwork = Annotated[
    str,
    typer.Argument(
        help="A saved network: a .keras file or an export, a study's name for its best trial, "
        "STUDY/N for its trial N, or in MLflow runs:/ID or models:/NAME@ALIAS.",
        metavar="MODEL",
        show_default=False,
    ),
]
Strict = Annotated[
    bool, flag("--strict", text="Refuse data with a category that was not in training.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="The number of worker processes.",
        metavar="N",
        show_default="one per GPU; without a GPU one per core that has 1 GiB of memory",
    ),
]
Notify = Annotated[
    list[str] | None,
    typer.Option(
        help="Tell this address of new bests, the end and failures: a webhook (Slack's and "
        "Discord's too), smtp://…, or @FILE of such lines, since everybody can read command lines. "
        "May be repeated.",
        metavar="URL",
        show_default="TUNER_NOTIFY",
    ),
]
# Read by tuner/models/model_opening.py.
TrustCode = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HASH",
        help="Allow code with this SHA-256, of the study or the network, to run on this machine. "
        "May be repeated.",
        show_default="ask",
    ),
]
