"""SQL statements compiled once for all databases of a kind. An engine compiles each statement anew,
and keeps what it has compiled for itself; with a database for every test, that is up to half of the
CPU time of a command."""

from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.util import LRUCache

# More than all tests have.
_COMPILED: LRUCache[Any, Any] = LRUCache(20_000)
# What the text of a statement, or how its values are passed, depends on.
_DECISIVE = (
    "server_version_info",
    "default_schema_name",
    "paramstyle",
    "insert_returning",
    "update_returning",
    "delete_returning",
    "use_insertmanyvalues",
    "supports_native_boolean",
    "_backslash_escapes",
    "_has_events",
    "_json_serializer",
    "_json_deserializer",
)
_dialects: dict[Any, Dialect] = {}
_compile = ClauseElement._compile_w_cache


def share_statements() -> None:
    """From now on, in this process and those forked from it."""
    ClauseElement._compile_w_cache = _compile_for_all  # type: ignore[method-assign]


def _compile_for_all(self: ClauseElement, dialect: Dialect, **options: Any) -> Any:
    """Compile for the first dialect that was like this one."""
    if options.get("compiled_cache") is not None:  # None: the statement is not to be kept
        options["compiled_cache"] = _COMPILED
    known = (type(dialect), *(getattr(dialect, name, None) for name in _DECISIVE))
    return _compile(self, _dialects.setdefault(known, dialect), **options)
