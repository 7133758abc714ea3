"""`tuner sync`."""

from typing import Annotated, Literal

import typer

from tuner.cli.app import Json, StudyName, settings_of


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
    from tuner.cli.open import look_at_studies, open_studies
    from tuner.cli.residence import check_settled
    from tuner.cli.results import print_checked, print_synced
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
