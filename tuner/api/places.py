"""Where the studies of a call lie, and their database while the call uses it."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

from tuner.errors import CodeError, LocationError, StudyError, UsageError
from tuner.manage.carried_code import UntrustedCode
from tuner.manage.databases import open_database, open_existing, read_database, require
from tuner.settings import Settings, load_settings
from tuner.storage import Store
from tuner.storage.studies import StudyRow, load_study
from tuner.system.locations import sqlite_file, sqlite_url
from tuner.system.names import command, remember_options
from tuner.system.user_modules import imported_file
from tuner.values import shown

logger = logging.getLogger("tuner")


@dataclass(frozen=True)
class Place:
    """A database of studies with what belongs to it. Each call opens the database and closes it, so
    that objects of the API can be used in threads and in forked processes, and a SQLite file is
    complete between two calls. `storage`, `tracking_uri`: as they were given, for the commands that
    messages suggest."""

    settings: Settings
    storage: str | None = None
    tracking_uri: str | None = None

    @classmethod
    def find(cls, storage: str | os.PathLike[str] | None, tracking_uri: str | None) -> "Place":
        """The place that these name; None means what the environment says, else the default. Paths
        are fixed: the current folder may change later. Raises UsageError."""
        refuse_while_imported()
        if isinstance(storage, os.PathLike) or _is_path(storage):
            storage = sqlite_url(Path(storage))
        for name, value in {"storage": storage, "tracking_uri": tracking_uri}.items():
            if value is not None and not isinstance(value, str):
                form = "a path or a URL" if name == "storage" else "a URL"
                raise UsageError(
                    f"{name} must be {form} such as sqlite:///tuner.db, got {shown(value)}"
                )
        settings = load_settings(storage, tracking_uri)
        settings = replace(
            settings,
            storage=_absolute(settings.storage),
            tracking_uri=_absolute(settings.tracking_uri),
            checkpoints=settings.checkpoints.absolute(),
        )
        return cls(settings, storage, tracking_uri)

    @contextmanager
    def reading(self) -> Iterator[Store]:
        """The database, for reading. Raises StudyError where there is none."""
        self._enter()
        yield from _closing(require(read_database(self.settings)))

    @contextmanager
    def reading_if_any(self) -> Iterator[Store | None]:
        """The same; None where there is none."""
        self._enter()
        store = read_database(self.settings)
        yield from (None,) if store is None else _closing(store)

    @contextmanager
    def writing(self) -> Iterator[Store]:
        """The database, for writing. Raises StudyError where there is none."""
        self._enter()
        yield from _closing(open_existing(self.settings, logger.warning))

    @contextmanager
    def creating(self) -> Iterator[Store]:
        """The database, for writing, created where there is none."""
        self._enter()
        yield from _closing(open_database(self.settings, logger.warning))

    def _enter(self) -> None:
        refuse_while_imported()
        remember_options(self.storage, self.tracking_uri)


def _is_path(storage: object) -> TypeGuard[str]:
    """Whether a text is the path of a file, not a URL."""
    return isinstance(storage, str) and storage != "" and ":/" not in storage


def _closing(store: Store) -> Iterator[Store]:
    try:
        yield store
    finally:
        store.close()


def _absolute(url: str) -> str:
    try:
        file = sqlite_file(url)
    except LocationError:  # whoever opens it says what is wrong
        return url
    is_relative = file is not None and not file.is_absolute() and "?" not in url
    return sqlite_url(file.absolute()) if file is not None and is_relative else url


def path_text(name: str, value: object, other: str = "") -> str:
    """A text or a path as a text. `name`, `other`: what errors call it, and what else it may be.
    Raises UsageError."""
    if isinstance(value, str | os.PathLike):
        return str(os.fspath(value))
    forms = f"a text, a path or {other}" if other else "a text or a path"
    raise UsageError(f"{name} must be {forms}, got {shown(value)}")


def refuse_while_imported() -> None:
    """Raises UsageError in a file that tuner itself imports, for a function in it: the file would
    create and search studies again, in each worker."""
    file = imported_file()
    if file is not None:
        raise UsageError(
            f"{file} calls tuner while tuner imports it, for a function in it: put the calls under "
            'if __name__ == "__main__":'
        )


@contextmanager
def code_by_call(call: str, source: str | None = None) -> Iterator[None]:
    """Inside, code that nobody on this machine has agreed to raises a CodeError that says how to
    allow it. `call`: how, with {} for the hashes and {source} for what needs the code; without
    `source` that is what the error says."""
    try:
        yield
    except UntrustedCode as error:
        show = command("study", "code", error.source)
        hashes = ", ".join(map(repr, error.hashes))
        allow = call.format(hashes, source=error.source if source is None else source)
        raise CodeError(f"{error}; read it with: {show}; then allow it with: {allow}") from error


def same_study(store: Store, study: StudyRow) -> StudyRow:
    """The study as it is now. Raises StudyError where it was deleted, also if another one has its
    name."""
    row = load_study(store, study.name)
    if row.uuid != study.uuid:
        raise StudyError(f"study {study.name!r} was deleted, and another study has its name now")
    return row
