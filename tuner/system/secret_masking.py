"""Passwords in what is logged, printed and stored: *** stands in their place.

A secret is found by its value, once `remember` was told of it, and by its place in a URL or a
connection string, so that one that nobody announced is masked too. One that reads as a word or a
number ("trial", "2024") is masked only where a password stands: elsewhere it says nothing, and to
replace it would spoil messages.
"""

import contextlib
import functools
import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
# A shorter secret is part of too many words to be replaced wherever it appears.
_SHORTEST = 4
_PLAIN = re.compile(r"[a-z]{1,15}|[A-Z][a-z]{0,14}|[A-Z]{1,15}|\d{1,7}", re.ASCII)
# PWD is the shell's name of a folder.
_WORDS = r"(?-i:pwd|Pwd)|secret|token|api[_\-]?key|access[_\-]?key"
_PASSWORD = r"password|passwd|passphrase"
_HUMPS = r"(?-i:[a-z](?:Pwd|Secret|Token|ApiKey|AccessKey))"
# max_tokens, input_signature and password_file name no secret.
_NAME = rf"(?:[\w.\-]*(?:{_PASSWORD}|{_HUMPS})|(?:[\w.\-]*[_.\-])?(?:{_WORDS}))\d*"
# What follows ? or & in a URL: signed links there have more names, and words run together.
_QUERY_NAME = rf"(?:[\w.\-]*(?:{_PASSWORD}|{_WORDS}|signature)\d*|sig)"
# Up to the last @: a password may hold one that should have been written as %40. A third slash
# begins a path, and paths may hold an @ too.
_USER_INFO = re.compile(r"://(?!/)[^\s'\"<>]*@")
_QUOTED = r"(?P<quote>['\"])(?:\\.|(?!(?P=quote))[^\\])*(?P=quote)"
_BARE = r"[^\s&;,'\"<>)]"
_NOTHING = rf"(?:none|null|true|false)(?!{_BARE})"
_ASSIGNED = re.compile(
    rf"(?i)(?P<name>(?<![\w.\-]){_NAME}=)(?:{_QUOTED}|(?!{_NOTHING})['\"]?{_BARE}+)"
)
_IN_A_MAPPING = re.compile(rf"(?i)(?P<name>(?P<around>['\"]){_NAME}(?P=around):\s*){_QUOTED}")
_IN_A_QUERY = re.compile(rf"(?i)(?P<name>[?&;]{_QUERY_NAME}=)[^\s&;'\"<>]+")
_QUERY = re.compile(rf"(?i)[?&;]({_QUERY_NAME})=([^&;\s]*)")

_known: set[str] = set()
_lock = threading.Lock()


def remember(*texts: str | None) -> None:
    """Mask what these URLs hold as passwords, wherever it appears from now on."""
    for text in texts:
        if text:
            remember_values(_secrets_of(text))


def remember_address(url: str) -> None:
    """Mask the path and the query of this URL too, and what is in them: in the address of a webhook
    they are the secret."""
    if "://" not in url:
        return  # the name of a file
    remember(url)
    behind_host = re.split(r"[/?#]", url.partition("://")[2].rpartition("@")[2], maxsplit=1)[1:]
    parts = [part for part in re.split(r"[/?#&]", "".join(behind_host)) if part]
    values = [part.partition("=")[2] for part in parts]
    remember_values([url, *behind_host, *parts, *values])


def mask_records(logger: logging.Logger) -> None:
    """Mask what a library logs by this logger, whoever shows it."""
    if not any(isinstance(each, _MaskingFilter) for each in logger.filters):
        logger.addFilter(_MaskingFilter())


class _MaskingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_secrets(record.getMessage()), None
        return True


def remember_values(values: Iterable[str | None]) -> None:
    """Mask these passwords, wherever they appear from now on."""
    with _lock:
        for value in values:
            if value:
                _known.update(form for form in _forms(value) if _is_worth_masking(form))


def without_secrets(text: str) -> str:
    """The text with *** in the place of passwords, and of the user before one in a URL."""
    with _lock:
        secrets = sorted(_known, key=len, reverse=True)
    plain = [value for value in secrets if _PLAIN.fullmatch(value)]
    # First, and the longest first: a password may hold what ends the password of a URL.
    for value in secrets:
        if value not in plain:
            text = text.replace(value, MASK)
    text = _USER_INFO.sub(f"://{MASK}@", text)
    for value in plain:
        if value in text:
            text = _where_a_password_stands(value).sub(rf"\g<before>{MASK}", text)
    for pattern in (_IN_A_MAPPING, _ASSIGNED, _IN_A_QUERY):
        text = pattern.sub(_masked, text)
    return text


def _masked(match: re.Match[str]) -> str:
    """What was matched, with *** in the quotes that its value had."""
    quote_mark = match.groupdict().get("quote") or ""
    return f"{match['name']}{quote_mark}{MASK}{quote_mark}"


@functools.lru_cache(maxsize=256)
def _where_a_password_stands(value: str) -> re.Pattern[str]:
    """The value as in "me:VALUE@host" and "password: VALUE", with what is before it."""
    named = rf"(?i:{_PASSWORD}|{_WORDS})\d*['\"]?\s*[:=]\s*['\"]?"
    word = re.escape(value)
    return re.compile(rf"(?P<before>:(?={word}@)|{named}(?={word}(?!\w))){word}")


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
    return len(value) >= _SHORTEST and value != MASK


def unmasked(stream: Any) -> Any:
    """The stream past its mask: for results that a program reads, which *** in a key or a number
    would break. What they hold as text is masked before."""
    return stream.unmasked if isinstance(stream, MaskedStream) else stream


def write_line(stream: Any, line: str) -> None:
    """Write a line for the process that started this one: unmasked, since that process parses it,
    and at once. What it holds as text is masked before. Raises OSError."""
    stream = unmasked(stream)
    stream.write(f"{line}\n")
    stream.flush()


class MaskedStream:
    """A text stream that masks what is written to it. For messages and logs: what cannot be
    written, for a full disk or a reader that went away, must not end what is going on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def unmasked(self) -> Any:
        return self._stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(without_secrets(text))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

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
