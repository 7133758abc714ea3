"""All command groups, hung into one tree."""

from tuner.cli import (
    compare_command,
    data_commands,
    database_commands,
    optimize_command,
    residence,
    space_commands,
    study_commands,
    trial_commands,
    ui_commands,
)
from tuner.cli.app import app

app.add_typer(study_commands.app, name="study")
app.command("optimize", no_args_is_help=False)(optimize_command.optimize)
app.command("compare", no_args_is_help=False)(compare_command.compare)
app.add_typer(trial_commands.app, name="trial")
app.command("sync", no_args_is_help=False)(database_commands.sync)
app.add_typer(space_commands.app, name="space")
app.add_typer(data_commands.app, name="data")
app.add_typer(database_commands.app, name="db")
database_commands.app.command("moved")(residence.moved)
database_commands.app.command("copied")(residence.copied)
app.command("activations", no_args_is_help=False)(space_commands.activations)
app.command("ui")(ui_commands.ui)
app.command("doctor", no_args_is_help=False)(database_commands.doctor)

__all__ = ["app"]
