"""Paths as URLs and back: the one place that quotes them.

In a URL `%` begins an escape and `?` the options. SQLAlchemy and MLflow decode the path of a
`sqlite:///` URL; MLflow decodes the location of artifacts too, even one without `file://`.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuner.errors import LocationError

# What the driver takes from a URL. `uri` is not among them: SQLite would decode the path again.
_OPTIONS = {"timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"}
# Also a blank or a tab is read as part of the path, but a URL with a line break is hard to print.
_QUOTED = re.compile(r"[%?\x00-\x1f\x7f]")


def sqlite_url(path: Path) -> str:
    """The `sqlite:///` URL of a database file."""
    if str(path) == ":memory:":  # a file, unlike SQLite's own use of the word
        path = path.absolute()
    return f"sqlite:///{_QUOTED.sub(lambda match: f'%{ord(match[0]):02X}', str(path))}"


def sqlite_file(url: str) -> Path | None:
    """The database file that a `sqlite:///` URL names; None for a URL of something else. Raises
    LocationError, naming the character, for a URL that names no file."""
    match = re.match(r"sqlite(\+\w+)?:(.*)", url, re.DOTALL)
    if match is None:
        return None
    if match[1] not in (None, "+pysqlite"):
        raise LocationError(f"sqlite{match[1]} is not supported; write sqlite:///file.db")
    if not match[2].startswith("///"):
        raise LocationError("expected a database file behind three slashes: sqlite:///file.db")
    quoted, mark, options = match[2].removeprefix("///").partition("?")
    if mark:
        _check_options(options)
    path = Path(_decoded(quoted))
    _check_escapes(quoted, path)
    _check_folder(path)
    return path


def expanded_path(text: str) -> Path:
    """The path with the home folder in place of a leading ~ or ~name."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~name of an unknown user
        return Path(text)


def is_file(path: Path) -> bool:
    """False also for a text that can be no path, and for a file that may not be looked at."""
    return holds(path.is_file)


def is_folder(path: Path) -> bool:
    """False also for a text that can be no path, and for a folder that may not be looked at."""
    return holds(path.is_dir)


def exists(path: Path) -> bool:
    """False also for a text that can be no path, and for what may not be looked at."""
    return holds(path.exists)


def path_problem(path: Path) -> str:
    """Why nothing can be written there, such as a name that is too long; "" if nothing is known."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def holds(test: Callable[[], bool]) -> bool:
    """What a test of a path says; False for no possible path, or one that may not be looked at."""
    try:
        return test()
    except (OSError, ValueError):
        return False


def real_file(path: Path) -> Path:
    """Of a SQLite file: where a link leads, since SQLite makes its other files there."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def database_folder(url: str) -> Path | None:
    """The folder of a SQLite database, where the project's files lie; None for a database elsewhere
    and for a URL that names no file, of which whoever opens it says what is wrong."""
    try:
        database = sqlite_file(url)
    except LocationError:
        return None
    return None if database is None else real_file(database).parent


def _check_options(options: str) -> None:
    for option in options.split("&"):
        name, is_set, _ = option.partition("=")
        if name not in _OPTIONS or not is_set:
            raise LocationError(
                "? begins the options of a URL, of which "
                f"{option.encode('unicode_escape').decode()!r} is none; in a path write ? as %3F"
            )


def _decoded(quoted: str) -> str:
    try:
        text = unquote(quoted, errors="strict")
        text.encode()
    except UnicodeError as error:
        raise LocationError("the path of a database must be UTF-8 text") from error
    if "\0" in text:
        raise LocationError("the path of a database cannot hold the character NUL")
    if text in ("", ":memory:"):
        raise LocationError("expected a database file, for instance sqlite:///tuner.db")
    return text


def _check_folder(path: Path) -> None:
    """SQL, MLflow and JSON hold whole paths as text: those of the working directory too."""
    folder = os.fsencode(path.absolute().parent)
    try:
        folder.decode()
    except UnicodeDecodeError as error:
        raise LocationError(
            f"the folder {ascii(folder)[1:]} cannot be used: its name is not UTF-8 text (byte "
            f"0x{folder[error.start]:02x}); rename it"
        ) from error


def _check_escapes(quoted: str, path: Path) -> None:
    """A path that was put into the URL as it is: its `%20` would be read as a blank."""
    literal = Path(quoted)
    if literal == path or path.exists():
        return
    if literal.exists() or (literal.parent.is_dir() and not path.parent.is_dir()):
        raise LocationError(f"{quoted}: in a URL write the character % of a path as %25")


def mlflow_url(tracking_uri: str) -> str:
    """A tracking URI as MLflow takes it. MLflow makes the folder of a `sqlite:///` URL without
    decoding it, and leaves that to us where the driver is named."""
    if "%" in tracking_uri and tracking_uri.startswith("sqlite:///"):
        return tracking_uri.replace("sqlite:", "sqlite+pysqlite:", 1)
    return tracking_uri


def file_url(path: Path) -> str:
    """The `file://` URL of a file or folder, in which only letters, digits and -._~/ are not
    quoted."""
    return path.absolute().as_uri()


def local_path(location: str) -> Path | None:
    """The path that MLflow reads from the location of artifacts; None for one elsewhere."""
    parts = urlsplit(location)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path if parts.scheme else location, errors="surrogateescape"))


# Where data from memory and code of notebooks are kept, in the project's folder. Each name holds a
# part of the contents' SHA-256. Folders of code hold one module and what it imports.
KEPT_DATA, KEPT_CODE = ".tuner/data", ".tuner/code"
HASH_LENGTH = 16
_HASH = rf"[0-9a-f]{{{HASH_LENGTH}}}"
KEPT_NAMES = re.compile(
    rf"{re.escape(KEPT_CODE)}/{_HASH}(?![0-9a-f])"
    rf"|{re.escape(KEPT_DATA)}/(?:arrays-{_HASH}\.npz|table-{_HASH}\.parquet|tables-{_HASH})"
)
