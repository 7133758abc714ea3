"""`tuner db`: look after the database. `tuner sync`: bring MLflow up to date with it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tuner.cli.app import Json, StudyName, flag, new_typer, settings_of

app = new_typer("Back up and upgrade the database, and say where it lies.")


@app.command("backup")
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.", metavar="FILE")],
    force: Annotated[bool, flag("--force", text="Replace FILE if it exists.")] = False,
) -> None:
    """Copy the database into one file, also while searches run.

    Example: tuner db backup tuner-monday.db

    The copy is a database too: tuner --storage sqlite:///tuner-monday.db study list
    """
    from tuner.cli.output import say
    from tuner.manage.databases import no_study
    from tuner.storage import exists
    from tuner.storage.read_only import back_up_to

    url = settings_of(context).storage
    if not exists(url):
        raise no_study()
    size = back_up_to(url, file, force)
    say(f"wrote {file} ({size / 2**20:.1f} MiB)")


@app.command("upgrade")
def upgrade(
    context: typer.Context,
    force: Annotated[
        bool, flag("--force", text="Upgrade under workers and searches, which ends them.")
    ] = False,
) -> None:
    """Upgrade tables of an older tuner or Optuna.

    Example: tuner db upgrade

    A SQLite file is backed up first. Every command that writes upgrades it too. A PostgreSQL
    database is upgraded by this command only, because all its users need the new version then.
    Save it first with pg_dump. It is refused while workers or searches use the database.
    """
    from tuner.cli.output import say
    from tuner.manage.databases import no_study
    from tuner.storage import upgrade_database

    done = upgrade_database(settings_of(context).storage, force)
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
        say(f"backup of the former tables: {done.backup}")


@app.command("moved")
def moved(context: typer.Context) -> None:
    """Say that this database was moved here: it keeps its ids.

    Example: tuner db moved

    For a database that was used on another machine, or in a folder where it still lies.
    """
    from tuner.cli.database_access import open_unsettled
    from tuner.cli.output import say
    from tuner.manage.project import declare_moved
    from tuner.tracking import move_store

    store = open_unsettled(context)
    move_store(settings_of(context).tracking_uri, store)
    say(f"the database lies at {declare_moved(store).place} from now on")


@app.command("copied")
def copied(context: typer.Context) -> None:
    """Say that this database is a copy: it and its studies get ids of their own.

    Example: tuner db copied

    The original keeps its MLflow runs and its files. Runs for the copy are created by its next
    search, or by tuner sync.
    """
    from tuner.cli.database_access import open_unsettled
    from tuner.cli.output import say
    from tuner.manage.project import declare_copied

    place = declare_copied(open_unsettled(context), settings_of(context)).place
    say(f"the database at {place} and its studies have ids of their own now")


def sync(
    context: typer.Context,
    study: StudyName = None,
    every: Annotated[bool, flag("--all", text="All studies of the database.")] = False,
    check: Annotated[
        bool, flag("--check", text="Change nothing. Print where MLflow differs from SQL.")
    ] = False,
    log_models: Annotated[
        Literal["best", "all", "none"],
        typer.Option(help="Which trained networks to send to MLflow."),
    ] = "best",
    as_json: Json = False,
) -> None:
    """Rebuild MLflow's runs from SQL: after MLflow was down or emptied, or is another one.

    Example: tuner sync mlp-digits

    The exit code is 1 if MLflow lacks something, or with --check, if it differs.
    """
    from tuner.cli.database_access import open_studies, read_studies
    from tuner.cli.result_output import print_checked, print_synced
    from tuner.manage.databases import check_settled
    from tuner.tracking.sync import check_study, sync_study

    settings = settings_of(context)
    uri, networks = settings.tracking_uri, settings.artifacts_place
    if check:
        store, rows = read_studies(context, study, every)
        checked = [check_study(store, uri, row, log_models, networks) for row in rows]
        raise typer.Exit(print_checked(checked, as_json))
    store, rows = open_studies(context, study, every)
    check_settled(store, "sync")
    synced = [sync_study(store, uri, row, log_models, networks) for row in rows]
    raise typer.Exit(print_synced(synced, as_json))
