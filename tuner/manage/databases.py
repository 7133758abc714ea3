"""Opening the database and the studies that a command, or a call of the Python API, works on.

Whoever only reads calls `read_…`: no right to write is needed, and no file changes. All others call
`open_…`.

A database that lies elsewhere than before was moved or copied. A copy has the ids of its original,
so until it is known which of the two it is, nothing may be written that belongs to the original.
"""

from collections.abc import Callable

from tuner.errors import StudyError
from tuner.settings import Settings
from tuner.storage import Store, exists, look_into, open_store
from tuner.storage.identity import DatabaseIdentity, Residence, record, residence
from tuner.storage.studies import StudyRow, find_study, how_to_create, load_study
from tuner.system.names import command

Tell = Callable[[str], None]
# Is given a database that may be a copy, and where it lay before.
Ask = Callable[[Store, Residence], None]


def read_database(settings: Settings) -> Store | None:
    """The database, for reading; None where there is none, or no table in it."""
    return look_into(settings.storage)


def read_study(
    settings: Settings, name: str | None, even_damaged: bool = False
) -> tuple[Store, StudyRow]:
    """The database and the study of that name, or the newest search, for reading. Raises
    StudyError."""
    store = require(read_database(settings))
    return store, (find_study if even_damaged else load_study)(store, name)


def open_database(settings: Settings, tell: Tell, ask: Ask = lambda store, where: None) -> Store:
    """The database, for writing, created where there is none. `tell` is told that it was moved;
    `ask` is called where it may be a copy."""
    store = open_store(settings.storage)
    settle_residence(store, tell, ask)
    return store


def open_existing(settings: Settings, tell: Tell, ask: Ask = lambda store, where: None) -> Store:
    """The same, but creates none. Raises StudyError."""
    if not exists(settings.storage):
        raise no_study()
    return open_database(settings, tell, ask)


def require(store: Store | None) -> Store:
    """The database. Raises StudyError where there is none."""
    if store is None:
        raise no_study()
    return store


def no_study() -> StudyError:
    """The error where there is no database."""
    return StudyError(f"there is no study yet; {how_to_create()}")


def settle_residence(store: Store, tell: Tell, ask: Ask) -> None:
    """Record where the database lies."""
    where = residence(store)
    if where.identity == DatabaseIdentity.UNSURE:
        ask(store, where)
    elif where.identity != DatabaseIdentity.HERE:
        record(store, where)
        if where.identity == DatabaseIdentity.MOVED:
            tell(f"the database was moved here from {where.elsewhere}")


def used_elsewhere(where: Residence) -> str:
    """That a database may be a copy, in words."""
    return f"this database was used at {where.elsewhere} before, not at {where.place}"


def _how_to_declare() -> str:
    return f"say which: {command('db', 'moved')}, or {command('db', 'copied')}"


def is_settled(store: Store) -> bool:
    """Whether the ids in the database are known to be its own, and so the files under them."""
    return residence(store).identity != DatabaseIdentity.UNSURE


def may_track(store: Store, tell: Tell) -> bool:
    """Whether the ids in the database are its own, so that their MLflow runs may be written. If
    that is not known, `tell` is told why tracking is off."""
    if is_settled(store):
        return True
    where = residence(store)
    tell(
        f"{used_elsewhere(where)}: was it moved or copied? Until that is known, nothing is sent "
        f"to MLflow; {_how_to_declare()}"
    )
    return False


def check_settled(store: Store, refused: str) -> None:
    """Raises StudyError if the ids may belong to an original that is used elsewhere. `refused`:
    what the user asked for."""
    where = residence(store)
    if where.identity == DatabaseIdentity.UNSURE:
        raise StudyError(
            f"{refused} is refused: {where.place} may be a copy of the database at "
            f"{where.elsewhere}, and would change what belongs to that one; {_how_to_declare()}"
        )
