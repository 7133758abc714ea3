"""Saved networks and checkpoints in a store that many machines reach: s3://, gs:// or az://.

Only the store's URL is pickled. Each machine has credentials of its own, in its environment or in
the files of the store's client, such as ~/.aws.
"""

import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cache, partial
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from tuner.errors import (
    ArtifactError,
    ArtifactsUnavailable,
    TunerError,
    first_line,
)
from tuner.study import download_cache
from tuner.study.artifacts import (
    Artifact,
    Content,
    StoredFile,
    StoredFolder,
    check_file,
    checked_name,
    measure,
    write_content,
)
from tuner.study.remote_folders import RemoteFolder
from tuner.system.names import install_command
from tuner.system.store_urls import SCHEMES
from tuner.system.temporary_folders import OwnFolder

_DELETIONS_AT_ONCE = 16
# What makes a part of a name a pattern.
_WILD = set("*?[")
_FOLDER = {"type": "directory"}
# Under which of these names a store says when a file was written.
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")


@dataclass(frozen=True)
class RemoteArtifacts:
    """Artifacts as objects of a bucket. `url`: such as s3://bucket/prefix, without credentials.

    A `put` is one upload: stores show an object only once it is whole. A `get` downloads into
    `download_cache` what is not there yet.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def below(self, prefix: str) -> "RemoteArtifacts":
        return RemoteArtifacts(self._place(prefix))

    def put(self, name: str, content: Content, *, checksum: bool = True) -> Artifact:
        self._place(name)
        if isinstance(content, Path):
            return self._upload(name, content, checksum)
        with OwnFolder("tuner-upload-") as folder:
            file = Path(folder) / PurePosixPath(name).name
            write_content(file, content)
            return self._upload(name, file, checksum)

    def _upload(self, name: str, file: Path, checksum: bool) -> Artifact:
        stored = measure(name, file) if checksum else Artifact(name, file.stat().st_size)
        with _one_line(self._place(name)):
            self._files().put_file(str(file), self._key(name))
        return stored

    def get(self, artifact: Artifact) -> Path:
        name, place, key = artifact.path, self._place(artifact.path), self._key(artifact.path)
        with _one_line(place):
            facts = self._facts(name)
            if facts is None:
                raise ArtifactError(f"{place} is no file")
            if artifact.size is not None and facts["size"] != artifact.size:
                raise ArtifactError(f"{place} is not the file that was saved (another size)")
            copy = artifact.sha256 or _digest(f"{place}\n{sorted(facts.items(), key=str)}")
            return self._copy_of(copy, artifact, partial(self._download, key))

    def _copy_of(self, copy: str, artifact: Artifact, download: Callable[[Path], object]) -> Path:
        """The local copy, checked. One that was damaged on this disk is downloaded again."""
        place, name = self._place(artifact.path), PurePosixPath(artifact.path).name
        try:
            file = download_cache.cached(copy, name, download)
            check_file(file, artifact, place)
        except (ArtifactError, FileNotFoundError):  # or one that was swept just now
            download_cache.forget(copy)
            file = download_cache.cached(copy, name, download)
            try:
                check_file(file, artifact, place)
            except ArtifactError:
                download_cache.forget(copy)
                raise
        return file

    def _download(self, key: str, target: Path) -> None:
        self._files().get_file(key, str(target))

    def folder(self, name: str) -> StoredFolder:
        return RemoteFolder(self.below(name))

    def exists(self, name: str) -> bool:
        return self.facts(name) is not None

    def facts(self, name: str) -> StoredFile | None:
        with _one_line(self._place(name)):
            facts = self._facts(name)
        return None if facts is None else _stored(name, facts)

    def copy(self, name: str, to: str) -> None:
        with _one_line(self._place(name)):
            self._files().cp_file(self._key(name), self._key(to))

    def delete(self, name: str) -> None:
        with _one_line(self._place(name)), suppress(FileNotFoundError):
            self._files().rm_file(self._key(name))

    def names(self, pattern: str) -> list[str]:
        return sorted(self._matching(pattern))

    def files(self, pattern: str) -> list[StoredFile]:
        found = self._matching(pattern).items()
        return sorted(_stored(name, facts) for name, facts in found if facts["type"] == "file")

    def _matching(self, pattern: str) -> dict[str, Any]:
        """What the store says of each file and folder that matches the pattern, by its name."""
        parts = PurePosixPath(pattern).parts
        fixed = takewhile(lambda part: not set(part) & _WILD, parts[:-1])
        start = "/".join(fixed)
        # A pattern for the names of one folder needs a listing of that folder alone.
        is_flat = len(parts) == start.count("/") + 1 + bool(start) and parts[-1] != "**"
        with _one_line(self._place(start) if start else self.url):
            found = self._below(start, is_flat=is_flat)
        for name in list(found):
            folders = {str(folder): _FOLDER for folder in PurePosixPath(name).parents[:-1]}
            found = folders | found
        return {
            name: facts
            for name, facts in found.items()
            if _matches(PurePosixPath(name).parts, parts)
        }

    def sweep(self, prefix: str, patterns: Sequence[str] = ()) -> None:
        self._place(prefix)
        with suppress(ArtifactsUnavailable), _one_line(self._place(prefix)):
            wanted = [PurePosixPath(prefix, pattern).parts for pattern in patterns]
            names = [
                name
                for name in self._below(prefix)
                if not wanted
                or any(_matches(PurePosixPath(name).parts, pattern) for pattern in wanted)
            ]
            with ThreadPoolExecutor(_DELETIONS_AT_ONCE) as threads:
                # Each is tried, whatever becomes of the others.
                for deletion in [threads.submit(self.delete, name) for name in names]:
                    with suppress(ArtifactsUnavailable):
                        deletion.result()

    def _below(self, prefix: str, *, is_flat: bool = False) -> dict[str, Any]:
        """What the store says of all files below the prefix, by their names; with `is_flat` of the
        files and folders right below it."""
        client, key, root = self._files(), self._key(prefix), self._key("")
        try:
            if is_flat:
                found = {facts["name"]: facts for facts in client.ls(key, detail=True)}
            else:
                found = client.find(key, detail=True)
        except FileNotFoundError as error:
            if _is_of_bucket(error):
                raise
            return {}
        start = f"{root}/"
        return {
            path.removeprefix(start): facts
            for path, facts in found.items()
            if path.startswith(start) and not path.endswith("/")
        }

    def _facts(self, name: str) -> dict[str, Any] | None:
        """What the store says of the file; None where there is none, or a folder."""
        try:
            facts: dict[str, Any] = self._files().info(self._key(name))
        except FileNotFoundError as error:
            if _is_of_bucket(error):
                raise
            return None
        return facts if facts["type"] == "file" else None

    def _place(self, name: str) -> str:
        return f"{self.url}/{checked_name(name)}"

    def _key(self, name: str) -> str:
        """The client's name of the file: bucket/prefix/name."""
        root = self.url.partition("://")[2]
        return f"{root}/{checked_name(name)}" if name else root

    def _files(self) -> Any:
        return _open_client(self.url.partition("://")[0], os.getpid())


# One for a process: a client is no use to a process that was forked from its own.
@cache
def _open_client(scheme: str, process: int) -> Any:
    kind = SCHEMES[scheme]
    try:
        import fsspec

        # Listings must not be remembered: other machines write too.
        client = fsspec.filesystem(
            kind.protocol, skip_instance_cache=True, use_listings_cache=False, **kind.options
        )
    except ImportError as error:
        raise ArtifactsUnavailable(
            f"{scheme}:// needs a package that is not installed here: "
            f"{install_command(kind.package)}"
        ) from error
    if kind.tries is not None:
        client.retries = kind.tries
    return client


@contextmanager
def _one_line(place: str) -> Iterator[None]:
    """Whatever the store's client raises becomes an ArtifactsUnavailable."""
    try:
        yield
    except TunerError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_THIS_DISK:
            where = error.filename or download_cache.PLACE
            problem = f"{where}: no copy of {place} can be written ({error.strerror})"
            raise ArtifactsUnavailable(problem) from error
        reason = _reason_of_store(error)
        if reason is not None:  # whatever the file
            scheme, _, path = place.partition("://")
            place = f"{scheme}://{path.partition('/')[0]}"
        message = f"{place}: {reason or first_line(error)}"
        raise ArtifactsUnavailable(message, _may_pass(error)) from error


# Errors of botocore, by name: it may not be installed.
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound")
_OF_THIS_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NOT_REACHED = ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError")


def _is_a(error: BaseException, names: Sequence[str]) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _is_of_bucket(error: BaseException) -> bool:
    return "bucket does not exist" in str(error) or "NoSuchBucket" in str(error)


def _may_pass(error: BaseException) -> bool:
    is_lasting = isinstance(error, TunerError | FileNotFoundError | PermissionError | ValueError)
    return not is_lasting and not _is_a(error, _NO_CREDENTIALS)


def _reason_of_store(error: BaseException) -> str | None:
    """Why no file of the store can be used; None for an error that may be that of one file."""
    if _is_of_bucket(error):
        return "there is no such bucket"
    if isinstance(error, PermissionError):
        return f"access is denied ({_text(error)}); check this machine's credentials"
    if _is_a(error, _NO_CREDENTIALS):
        return (
            "this machine has no credentials for it; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials"
        )
    if _is_a(error, _NOT_REACHED) or isinstance(error, ConnectionError | TimeoutError):
        server = re.search(r"https?://[^/\"']+", str(error))
        return f"the store cannot be reached{f' at {server[0]}' if server else ''}"
    return None


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _stored(name: str, facts: dict[str, Any]) -> StoredFile:
    """Of a store that does not say when a file was written, it was just now."""
    times = [facts[key] for key in _TIMES if isinstance(facts.get(key), datetime)]
    written_at = times[0].timestamp() if times else time.time()
    return StoredFile(name, facts["size"], written_at)


def _matches(name: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a name match those of a pattern, as `Path.glob` does: "**" stands for
    any number of folders."""
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(_matches(name[skipped:], pattern[1:]) for skipped in range(len(name) + 1))
    return bool(name) and fnmatchcase(name[0], pattern[0]) and _matches(name[1:], pattern[1:])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
