"""Passwords kept out of what is printed: messages, tracebacks, logs, JSON.

A secret is found by its value, once `remember` was told of it, and by its place in a URL or a
connection string, so that one that nobody announced is masked too.
"""

import json
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
# A shorter secret is part of too many words to be replaced wherever it appears.
_SHORTEST = 4
# Passwords that say nothing, but whose replacement would make messages unreadable.
_HARMLESS = frozenset({
    "admin", "data", "false", "localhost", "mlflow", "none", "null", "optuna", "password",
    "postgres", "postgresql", "psycopg", "root", "sqlite", "storage", "study", "test", "true",
    "tuner", "user",
})  # fmt: skip
_SECRET_NAME = r"[\w.\-]*(?:password|passwd|passphrase|pwd|token|secret|api_?key|signature)[\w.\-]*"
# Up to the last @: a password may hold one that should have been written as %40. A third slash
# begins a path, and paths may hold an @ too.
_USER_INFO = re.compile(r"://(?!/)[^\s'\"<>]*@")
_VALUE = r"'[^']*'|\"[^\"]*\""
_ASSIGNED = re.compile(rf"(?i)(\b{_SECRET_NAME}=)({_VALUE}|[^\s&;,'\"<>)]+)")
_IN_A_MAPPING = re.compile(rf"(?i)((['\"]){_SECRET_NAME}\2: )({_VALUE})")
_QUERY = re.compile(rf"(?i)[?&;]({_SECRET_NAME})=([^&;\s]*)")

_known: set[str] = set()
_lock = threading.Lock()


def remember(*texts: str | None) -> None:
    """Mask what these URLs hold as passwords, wherever it appears from now on."""
    for text in texts:
        if text:
            remember_values(_secrets_of(text))


def remember_values(values: Iterable[str | None]) -> None:
    """Mask these passwords, wherever they appear from now on."""
    with _lock:
        for value in values:
            if value:
                _known.update(form for form in _forms(value) if _is_worth_masking(form))


def without_secrets(text: str) -> str:
    """The text with *** in the place of passwords, and of the user before one in a URL."""
    with _lock:
        known = sorted(_known, key=len, reverse=True)
    for value in known:
        text = text.replace(value, MASK)
    text = _USER_INFO.sub(f"://{MASK}@", text)
    return _IN_A_MAPPING.sub(rf"\g<1>{MASK}", _ASSIGNED.sub(rf"\g<1>{MASK}", text))


def _secrets_of(url: str) -> Iterator[str]:
    scheme, _, rest = url.partition("://")
    yield from (match[2] for match in _QUERY.finditer(url))
    if rest.startswith("/"):
        return  # a path: no user, and no password
    # Libraries differ in where they end a password that holds / or @: all readings are secret.
    for part in {rest, re.split(r"[/?#]", rest)[0], rest.partition("?")[0]}:
        user, colon, password = part.rpartition("@")[0].partition(":")
        if colon and password != user:
            yield password
        elif scheme in ("http", "https") and "/" not in user:
            yield user  # alone it may be a token


def _forms(value: str) -> set[str]:
    """The value as it may be written in a URL, a Python string or JSON."""
    plain = {value, unquote(value), unquote_plus(value)}
    quoted = {form for text in plain for form in (quote(text, safe=""), quote_plus(text))}
    written = {form for text in plain for form in (repr(text)[1:-1], json.dumps(text)[1:-1])}
    return plain | quoted | written


def _is_worth_masking(value: str) -> bool:
    return len(value) >= _SHORTEST and value.lower() not in _HARMLESS and value != MASK


class MaskedStream:
    """A text stream that masks what is written to it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(without_secrets(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def mask_stderr() -> None:
    """Mask what this process writes to stderr from now on: messages, tracebacks, logs."""
    if sys.stderr is not None and not isinstance(sys.stderr, MaskedStream):
        sys.stderr = MaskedStream(sys.stderr)


def mask_output() -> None:
    """Mask stdout too: of a process whose output is a log, not data."""
    mask_stderr()
    if sys.stdout is not None and not isinstance(sys.stdout, MaskedStream):
        sys.stdout = MaskedStream(sys.stdout)
