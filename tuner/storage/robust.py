"""Optuna's RDBStorage on engines that hold. A subclass: only its instances get Optuna's cache."""

import optuna
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL

from tuner.storage import engines


class RobustStorage(RDBStorage):
    """RDBStorage on hardened connections, whose password may hold any character."""

    def __init__(self, url: URL) -> None:
        options = engines.engine_options(url)
        text = url.render_as_string(hide_password=False)
        # The schema is prepared before, under a lock: see migrate.py.
        super().__init__(text, engine_kwargs=options, skip_table_creation=True)
        engines.harden(self.engine, writes=True)
        # Connections opened while the base class started are not set up: let them go.
        self.engine.dispose()

    @staticmethod
    def _fill_storage_url_template(template: str) -> str:
        # Optuna fills {SCHEMA_VERSION} in by str.format, which a brace in a password breaks.
        return template


def open_optuna_storage(url: URL) -> RobustStorage:
    """Optuna's storage on a prepared schema. Raises StorageUnavailable."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with engines.unavailable(url):
        return RobustStorage(url)
