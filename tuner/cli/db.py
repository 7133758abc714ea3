"""`tuner db`: back the database up, bring it up to date."""

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.app import new_typer, settings_of

app = new_typer("Back the database up, bring it up to date, say where it lives.")


@app.command("backup")
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.", metavar="FILE")],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE where it exists.")] = False,
) -> None:
    """Copy the database into one file, also while searches run.

    Example: tuner db backup tuner-monday.db

    The copy is a database too: tuner --storage sqlite:///tuner-monday.db study list
    """
    from tuner.cli.open import no_study
    from tuner.cli.output import say
    from tuner.storage import exists
    from tuner.storage.backup import back_up_to

    url = settings_of(context).storage
    if not exists(url):
        raise no_study()
    size = back_up_to(url, file, force)
    say(f"wrote {file} ({size / 2**20:.1f} MiB)")


@app.command("upgrade")
def upgrade(context: typer.Context) -> None:
    """Bring the tables of an older tuner or Optuna up to date.

    Example: tuner db upgrade

    A SQLite file is backed up first, and upgraded by every command that writes; this one does it
    now. A PostgreSQL database is upgraded by this command alone: all who use the database need the
    new version then. Save it first, by pg_dump.
    """
    from tuner.cli.open import no_study
    from tuner.cli.output import say
    from tuner.storage import upgrade_database

    done = upgrade_database(settings_of(context).storage)
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
        say(f"as it was before: {done.backup}")
