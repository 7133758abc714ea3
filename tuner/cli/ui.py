"""`tuner ui`: MLflow's pages and Optuna's dashboard on loopback."""

from typing import Annotated

import typer

from tuner.cli.app import settings_of


def ui(
    context: typer.Context,
    mlflow_port: Annotated[int, typer.Option(help="0 takes any free one.")] = 5000,
    dashboard_port: Annotated[int, typer.Option(help="0 takes any free one.")] = 8080,
) -> None:
    """Open MLflow's UI and the Optuna dashboard on this machine; Ctrl-C stops both.

    Example: tuner ui
    """
    from tuner.cli.output import say
    from tuner.cli.servers import serve_pages

    serve_pages(settings_of(context), mlflow_port, dashboard_port, say)
