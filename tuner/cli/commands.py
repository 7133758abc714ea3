"""All command groups, hung into one tree."""

from tuner.cli import (
    activations,
    compare,
    data,
    db,
    doctor,
    optimize,
    residence,
    space,
    study,
    sync,
    trial,
    ui,
)
from tuner.cli.app import app

app.add_typer(study.app, name="study")
app.command("optimize", no_args_is_help=False)(optimize.optimize)
app.command("compare", no_args_is_help=False)(compare.compare)
app.add_typer(trial.app, name="trial")
app.command("sync", no_args_is_help=False)(sync.sync)
app.add_typer(space.app, name="space")
app.add_typer(data.app, name="data")
app.add_typer(db.app, name="db")
db.app.command("moved")(residence.moved)
db.app.command("copied")(residence.copied)
app.command("activations", no_args_is_help=False)(activations.activations)
app.command("ui")(ui.ui)
app.command("doctor", no_args_is_help=False)(doctor.doctor)

__all__ = ["app"]
