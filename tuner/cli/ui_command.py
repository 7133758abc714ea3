"""`tuner ui`: MLflow's server and the Optuna dashboard on loopback."""

from typing import Annotated

import typer

from tuner.cli.app import settings_of


def ui(
    context: typer.Context,
    mlflow_port: Annotated[
        int,
        typer.Option(
            help="The port of MLflow's pages; 0 takes any free port.",
            metavar="PORT",
        ),
    ] = 5000,
    dashboard_port: Annotated[
        int,
        typer.Option(
            help="The port of the Optuna dashboard; 0 takes any free port.",
            metavar="PORT",
        ),
    ] = 8080,
) -> None:
    """Serve MLflow's UI and the Optuna dashboard on this machine. Ctrl-C stops both.

    Example: tuner ui

    For the newest studies it prints the addresses of their pages: the trials side by side in
    MLflow, and the study in the dashboard. If MLflow runs as a server already, only the dashboard
    is started.
    """
    from tuner.cli.output import say
    from tuner.cli.ui_servers import serve_pages

    serve_pages(settings_of(context), mlflow_port, dashboard_port, say)
