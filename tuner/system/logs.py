"""What is logged: where it goes, and in which form.

Library code logs by `logging.getLogger(__name__)` and never prints. A command shows warnings on
stderr, with --verbose everything. A search also logs to the file search.log beside its study's
networks. Its workers, and native code in them, print into the same file. With --log-format json
each record is a JSON object in a line, on stderr from INFO on.
"""

import contextvars
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tuner.system.secret_masking import unmasked, without_secrets

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
