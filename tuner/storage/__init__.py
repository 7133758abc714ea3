"""SQL: Optuna's storage made robust, and our own tables beside it."""

from tuner.storage.opening import exists, look_into, open_store, upgrade_database
from tuner.storage.store import Store, close_all, fold_all

__all__ = [
    "Store",
    "close_all",
    "exists",
    "fold_all",
    "look_into",
    "open_store",
    "upgrade_database",
]
