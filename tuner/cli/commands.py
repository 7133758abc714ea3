"""The table of all commands. A new command is a file of its own and one line here."""

from collections.abc import Callable

import typer

from tuner.cli import (
    compare_command,
    data_commands,
    database_commands,
    doctor_command,
    evaluate_command,
    export_command,
    gc_command,
    metrics_command,
    optimize_command,
    predict_command,
    promote_command,
    space_commands,
    study_commands,
    trial_commands,
    ui_command,
    worker_commands,
)
from tuner.cli.app import app

# A function is a command; a typer.Typer is a group of commands.
COMMANDS: dict[str, Callable[..., None] | typer.Typer] = {
    "study": study_commands.app,
    "optimize": optimize_command.optimize,
    "worker": worker_commands.app,
    "compare": compare_command.compare,
    "predict": predict_command.predict,
    "evaluate": evaluate_command.evaluate,
    "export": export_command.export,
    "promote": promote_command.promote,
    "trial": trial_commands.app,
    "sync": database_commands.sync,
    "space": space_commands.app,
    "data": data_commands.app,
    "metrics": metrics_command.metrics,
    "db": database_commands.app,
    "gc": gc_command.gc,
    "activations": space_commands.activations,
    "ui": ui_command.app,
    "doctor": doctor_command.doctor,
}

for name, member in COMMANDS.items():
    if isinstance(member, typer.Typer):
        app.add_typer(member, name=name)
    else:
        app.command(name, no_args_is_help=False)(member)

__all__ = ["app"]
