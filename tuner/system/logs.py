"""What is logged and printed: where it goes, and that it holds no passwords.

**Passwords.** A secret is found by its value, once `remember` was told of it, and by its place in a
URL or a connection string, so that one that nobody announced is masked too. One that reads as a
word or a number ("trial", "2024") is masked only where a password stands: elsewhere it says
nothing, and to replace it would spoil messages.

**Logging.** Library code logs by `logging.getLogger(__name__)` and never prints. A command shows
warnings on stderr, with --verbose everything. A search also logs to the file search.log beside its
study's networks. Its workers, and native code in them, print into the same file. With
--log-format json each record is a JSON object in a line, on stderr from INFO on.

**Output of native code.** TensorFlow's libraries write start-up notes to stderr before they read
any setting, and a network of the user's may print. Both would cut through a live display, or stand
amid JSON: see `output_to`.
"""

import contextlib
import contextvars
import functools
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
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


# Of a line for the user; the parent of a process of ours finds its lines by it.
STDERR_PREFIX = "tuner: "
_FILE_FORMAT = "%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"
# Such a line of the file does not say why a process has ended.
_PROGRESS_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO) |"
    r'\{"time": "[^"]*", "level": "(debug|info)"'
)
_MAX_LOG_BYTES = 16 * 2**20
_TAIL_BYTES = 4096


class _MaskingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


LogFormat = Literal["text", "json"]
_format: LogFormat = "text"
# What records say besides their message, where it is known.
_FACTS = ("study", "trial", "worker")
_facts: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "facts", default=None
)


def set_log_format(chosen: LogFormat) -> None:
    """What this process logs is written so from now on. Before anything is logged."""
    global _format
    _format = chosen


def log_format() -> LogFormat:
    return _format


@contextmanager
def logging_about(**facts: Any) -> Iterator[None]:
    """Inside, and in this thread, JSON records say these of `study`, `trial` and `worker`."""
    token = _facts.set((_facts.get() or {}) | facts)
    try:
        yield
    finally:
        _facts.reset(token)


class _JsonFormatter(logging.Formatter):
    """An object in a line: time in UTC, level, logger, message; study, trial and worker where they
    are known; an exception's traceback."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        facts = (_facts.get() or {}) | record.__dict__
        for name in _FACTS:
            if (value := facts.get(name)) is not None:
                fields[name] = without_secrets(value) if isinstance(value, str) else value
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


def _formatter(text_format: str) -> logging.Formatter:
    return _JsonFormatter() if _format == "json" else _MaskingFormatter(text_format)


def log_message(text: str, level: int, error: BaseException | None = None) -> None:
    """Write a message for the user to stderr as JSON, whatever is logged there."""
    exception = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("tuner", level, "", 0, "%s", (text,), exception)
    _StderrHandler.write(_JsonFormatter().format(record))


class _StderrHandler(logging.Handler):
    """Writes to the stderr of the moment, which a live display or `output_to` may have replaced.
    What cannot be written must not end what is going on."""

    def emit(self, record: logging.LogRecord) -> None:
        self.write(self.format(record))

    @staticmethod
    def write(line: str) -> None:
        with suppress(OSError, ValueError):
            # Masked already: *** in the place of a number would break JSON.
            stream = unmasked(sys.stderr)
            stream.write(f"{line}\n")
            stream.flush()


class _LogFileHandler(logging.FileHandler):
    """Appends to a file. A record that cannot be written, as on a full disk, is dropped."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        return


def log_to_stderr(*, verbose: bool = False) -> None:
    """Show this process' warnings on stderr, a line each that begins with "tuner: "; with `verbose`
    everything that is logged. As JSON, all from INFO on: it is a log then."""
    quiet = logging.INFO if _format == "json" else logging.WARNING
    _set_stderr_handler(f"{STDERR_PREFIX}%(message)s", logging.DEBUG if verbose else quiet)


def log_into_file_on_stderr() -> None:
    """The same for a process whose stderr is a log file: everything from INFO on, with the time."""
    _set_stderr_handler(_FILE_FORMAT, logging.INFO)


def _set_stderr_handler(line_format: str, level: int) -> None:
    logger = logging.getLogger("tuner")
    for handler in logger.handlers[:]:
        if isinstance(handler, _StderrHandler):
            logger.removeHandler(handler)
    handler = _StderrHandler(level)
    handler.setFormatter(_formatter(line_format))
    logger.addHandler(handler)
    logger.setLevel(min(level, logging.INFO))


class _LogFiles:
    """The log files that are open. A thread that has one writes into no other thread's: several
    searches may run in one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: list[int] = []
        self._level_before = logging.NOTSET

    def add(self, handler: logging.Handler) -> None:
        own, logger = threading.get_ident(), logging.getLogger("tuner")
        handler.addFilter(lambda record: record.thread == own or record.thread not in self._threads)
        with self._lock:
            if not self._threads:
                self._level_before = logger.level
                logger.setLevel(min(logger.level or logging.INFO, logging.INFO))
            self._threads.append(own)
        logger.addHandler(handler)

    def remove(self, handler: logging.Handler) -> None:
        logger = logging.getLogger("tuner")
        logger.removeHandler(handler)
        with self._lock:
            self._threads.remove(threading.get_ident())
            if not self._threads:
                logger.setLevel(self._level_before)


_log_files = _LogFiles()


@contextmanager
def log_to_file(file: Path) -> Iterator[None]:
    """Inside, records from INFO on are appended to the file too, unless it cannot be written. Of
    several threads that are inside, each writes into its own file alone."""
    handler = _open_log(file)
    if handler is None:
        yield
        return
    handler.setFormatter(_formatter(_FILE_FORMAT))
    handler.setLevel(logging.INFO)
    _log_files.add(handler)
    try:
        yield
    finally:
        _log_files.remove(handler)
        with suppress(OSError):
            handler.close()


def _open_log(file: Path) -> logging.Handler | None:
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        shorten_log(file)
        # Appended to: another search of the study may be writing here too.
        return _LogFileHandler(file, encoding="utf-8", errors="backslashreplace")
    return None


def shorten_log(log: Path, max_bytes: int = _MAX_LOG_BYTES) -> None:
    """Of a log that has grown larger, keep the last quarter of that size. Others may be writing to
    it: they append."""
    with suppress(OSError):
        if log.stat().st_size <= max_bytes:
            return
        descriptor = os.open(log, os.O_RDWR | os.O_APPEND)
        try:
            size = os.fstat(descriptor).st_size
            tail = os.pread(descriptor, max_bytes // 4, size - max_bytes // 4)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, tail.partition(b"\n")[2])
        finally:
            os.close(descriptor)


@contextmanager
def stderr_muted() -> Iterator[None]:
    """Nothing that native code of this process writes to stderr is seen. Exceptions pass."""
    with _redirected(None, (2,)):
        yield


@contextmanager
def python_output_only() -> Iterator[None]:
    """Inside, a user's own code runs in this process: what it prints goes to stderr, since stdout
    is for results, and what native code writes to stderr is not seen. Exceptions pass."""
    _flush()
    with os.fdopen(os.dup(2), "w", 1, encoding="utf-8", errors="backslashreplace") as terminal:
        # A stream that a caller has put in stderr's place is none of native code's.
        shown = MaskedStream(terminal if _writes_to(sys.stderr, 2) else sys.stderr)
        with stderr_muted(), redirect_stdout(shown), redirect_stderr(shown):
            yield


def _writes_to(stream: Any, number: int) -> bool:
    try:
        return bool(stream.fileno() == number)
    except (AttributeError, OSError, ValueError):
        return False


@contextmanager
def output_to(log: Path | None) -> Iterator[None]:
    """What this process, and children that it starts inside, write to stdout and stderr goes to the
    end of the file `log`; without one, or where it cannot be opened, nowhere. Exceptions pass.

    It is for reading after a crash: no search ends because it cannot be written.
    """
    with _redirected(log, (1, 2)), redirect_stdout(MaskedStream(sys.stdout)):
        yield


def move_output_to(log: Path) -> None:
    """What this process writes to stdout and stderr goes to the end of the file `log` from now on;
    where it cannot be opened, nowhere."""
    _flush()
    target = _opened(log)
    for number in (1, 2):
        os.dup2(target, number)
    os.close(target)


@contextmanager
def _redirected(log: Path | None, numbers: tuple[int, ...]) -> Iterator[None]:
    _flush()
    before = {number: os.dup(number) for number in numbers}
    try:
        target = _opened(log)
        for number in numbers:
            os.dup2(target, number)
        os.close(target)
        yield
    finally:
        _flush()
        for number, file in before.items():
            os.dup2(file, number)
            os.close(file)


def _opened(log: Path | None) -> int:
    if log is not None:
        with suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            # Appended to: another loop of the study may be writing here too.
            return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    return os.open(os.devnull, os.O_WRONLY)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def last_line(log: Path | None, start: int = 0) -> str:
    """The last line of a log, behind its byte `start`, that reports no progress: mostly why a
    process has ended. Without passwords; empty where there is none."""
    try:
        if log is None or not log.is_file():
            return ""
        with log.open("rb") as file:
            size = log.stat().st_size
            # A smaller file was shortened since.
            file.seek(max(start if start <= size else 0, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines()]
    words = [line for line in lines if line and not _PROGRESS_LINE.match(line)]
    return without_secrets(_message_of(words[-1])) if words else ""


def _message_of(line: str) -> str:
    """The message of a JSON record; any other line is one itself."""
    if line.startswith('{"time": '):
        with suppress(ValueError, KeyError, TypeError):
            return str(json.loads(line)["message"])
    return line
