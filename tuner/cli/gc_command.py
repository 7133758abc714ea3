"""`tuner gc`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cli.app import Json, flag, settings_of

if TYPE_CHECKING:
    from tuner.manage.cleaning import Leftover
    from tuner.storage import Store
    from tuner.storage.studies import StudyRow


def gc(
    context: typer.Context,
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY]…",
            help="Look only at the files of these studies.",
            show_default="the whole project",
        ),
    ] = None,
    dry_run: Annotated[
        bool, flag("--dry-run", text="Print what would be removed. Change nothing.")
    ] = False,
    yes: Annotated[bool, flag("--yes", "-y", text="Do not ask.")] = False,
    keep_models: Annotated[
        str | None,
        typer.Option(
            help="Keep the networks of each study's best K trials only.",
            metavar="K",
            show_default="those that the searches have kept",
        ),
    ] = None,
    mlflow: Annotated[
        bool,
        flag("--mlflow", text="Remove MLflow's models of networks that are not kept, too."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove files that no study needs: checkpoints, half-written files, leftovers.

    Example: tuner gc --dry-run

    The list is printed with sizes before anything is removed. A study that is being searched is
    left alone, and so is whatever may belong to another database. Registered models and those you
    have tagged stay.
    """
    from tuner.cli.output import complain
    from tuner.manage.cleaning import Project, find_leftovers, remove_leftovers
    from tuner.manage.searching import networks_to_keep

    most = None if keep_models is None else networks_to_keep(keep_models, "--keep-models")
    store, rows = _open(context, studies or [], dry_run)
    project = Project(settings_of(context), store, most)
    leftovers = find_leftovers(project, rows, is_whole=not studies, with_mlflow=mlflow)
    if not as_json:
        _print(leftovers)
    removes = not dry_run and bool(leftovers) and _may_remove(leftovers, yes, as_json)
    removed = remove_leftovers(project, rows, leftovers) if removes else []
    for note in project.notes:
        complain(note)
    if as_json:
        _print_json(leftovers, removed, project.notes)
    elif removes:
        _print_removed(leftovers, removed)
    raise typer.Exit(1 if removes and len(removed) < len(leftovers) else 0)


def _open(
    context: typer.Context, names: Sequence[str], dry_run: bool
) -> "tuple[Store, list[StudyRow]]":
    """The database and the studies of these names, or all. Raises StudyError."""
    from tuner.cli.database_access import open_database, read_database
    from tuner.cli.output import complain
    from tuner.manage.databases import no_study, require
    from tuner.storage import exists
    from tuner.storage.studies import find_study, load_studies

    if not exists(settings_of(context).storage):
        raise no_study()
    store = require(read_database(context)) if dry_run else open_database(context)
    if names:
        return store, [find_study(store, name) for name in dict.fromkeys(names)]
    return store, load_studies(store, complain)[::-1]


def _may_remove(leftovers: "Sequence[Leftover]", yes: bool, as_json: bool) -> bool:
    """Whether the user agrees. Raises UsageError where nobody can be asked."""
    from tuner.errors import UsageError

    if yes:
        return True
    if as_json or not sys.stdin.isatty():
        raise UsageError("nothing is removed: give --yes to remove it, or --dry-run to look only")
    return typer.confirm(f"remove {_in_all(leftovers)}?", err=True)


def _in_all(leftovers: "Sequence[Leftover]") -> str:
    from tuner.system.quantities import format_bytes

    count = f"{len(leftovers)} item{'' if len(leftovers) == 1 else 's'}"
    return f"{count} ({format_bytes(_size(leftovers))})"


def _size(leftovers: "Sequence[Leftover]") -> int:
    return sum(leftover.size or 0 for leftover in leftovers)


def _print(leftovers: "Sequence[Leftover]") -> None:
    """A row for each kind of leftover of each study, then the sum."""
    from tuner.cli.output import one_line, say, show_rows
    from tuner.system.quantities import format_bytes

    if not leftovers:
        say("nothing to remove: no file is here that no study needs")
        return
    groups: dict[tuple[str, str], list[Leftover]] = {}
    for leftover in leftovers:
        groups.setdefault((leftover.what, leftover.study or ""), []).append(leftover)
    show_rows(
        [
            {
                "what": what,
                "study": one_line(study) or None,
                "items": len(members),
                "size": format_bytes(_size(members)),
                "for instance": _from_here(members[0].place),
            }
            for (what, study), members in groups.items()
        ],
        as_json=False,
    )
    say(f"in all {_in_all(leftovers)}")


def _from_here(place: str) -> str:
    """A path from the current folder on, if it lies there."""
    path = Path(place)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else place


def _print_removed(leftovers: "Sequence[Leftover]", removed: "Sequence[Leftover]") -> None:
    from tuner.cli.output import complain, say

    say(f"removed {_in_all(removed)}")
    if len(removed) < len(leftovers):
        gone = {leftover.place for leftover in removed}
        first = next(leftover.place for leftover in leftovers if leftover.place not in gone)
        left = len(leftovers) - len(removed)
        complain(f"{left} could not be removed, or are in use by now; the first: {first}")


def _print_json(
    leftovers: "Sequence[Leftover]", removed: "Sequence[Leftover]", notes: Sequence[str]
) -> None:
    from tuner.cli.output import print_json

    gone = {leftover.place for leftover in removed}
    rows: list[dict[str, Any]] = [
        {
            "what": leftover.what,
            "study": leftover.study,
            "place": leftover.place,
            "bytes": leftover.size,
            "removed": leftover.place in gone,
        }
        for leftover in leftovers
    ]
    print_json({"bytes": _size(leftovers), "leftovers": rows, "notes": list(notes)})
