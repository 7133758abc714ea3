"""SQL: Optuna's storage made robust, and our own tables beside it."""

from tuner.storage.store import Store, exists, open_store

__all__ = ["Store", "exists", "open_store"]
