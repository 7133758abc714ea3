"""Whose turn it is to write a study's runs."""

import fcntl
import os

import sqlalchemy as sa

from tuner.errors import StorageError
from tuner.storage.looking import real_path
from tuner.storage.store import Store

_LOCK_KEY = 7310543


class Turn:
    """The right to write a study's runs. One process at a time has it, or two loops' trackers
    would make two runs of one trial; it ends with the process, however that dies."""

    def __init__(self, store: Store, study_id: int) -> None:
        self._store, self._study_id = store, study_id
        self._connection: sa.Connection | None = None
        self._file: int | None = None

    def mine(self) -> bool:
        """Take the turn if nobody has it; whether it is ours. Raises StorageError."""
        if self._store.url.get_backend_name() == "sqlite":
            return self._lock_file()
        return self._lock_in_database()

    def _lock_file(self) -> bool:
        if self._file is not None:
            return True
        path = f"{real_path(self._store.url)}-tracker"  # the same one by whichever link
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from error
        try:
            # One byte for each study.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._study_id)
        except OSError:
            os.close(file)
            return False
        self._file = file
        return True

    def _lock_in_database(self) -> bool:
        try:
            if self._connection is not None:
                self._connection.execute(sa.select(1))  # a lost connection has lost its locks
                return True
        except sa.exc.SQLAlchemyError:
            self.give_back()
        engine = self._store.reader.execution_options(isolation_level="AUTOCOMMIT")
        query = sa.select(sa.func.pg_try_advisory_lock(_LOCK_KEY, self._study_id))
        try:
            connection = engine.connect()
            if connection.execute(query).scalar_one():
                self._connection = connection
                return True
            connection.close()
        except sa.exc.SQLAlchemyError as error:
            raise StorageError(f"{self._store.shown}: the database cannot be reached") from error
        return False

    def give_back(self) -> None:
        if self._connection is not None:
            # Closed for good: returned to the pool, it would keep the lock.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
        if self._file is not None:
            os.close(self._file)
            self._file = None
