"""SQL: Optuna's storage made robust, and our own tables beside it.

What is named here is imported at its first use: `first_look` does without SQLAlchemy.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
_OF_STORE = ("Store", "close_all", "fold_all")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "store" if name in _OF_STORE else "opening"
    value = getattr(importlib.import_module(f"tuner.storage.{module}"), name)
    globals()[name] = value
    return value
