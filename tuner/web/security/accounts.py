"""The users of the page: their names, roles and hashed passwords, in one file.

Passwords are hashed by scrypt (Percival, 2009), with a salt for each user. The file is read again
when it changes: a new password and a removed user count at once.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tuner.errors import UsageError
from tuner.settings import Settings
from tuner.system.file_locks import exclusive_lock
from tuner.system.locations import database_folder
from tuner.values import shown

SHORTEST_PASSWORD = 8
_LONGEST_PASSWORD = 1024
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}")
_FILE = Path(".tuner", "users.json")
_MOST_BYTES = 2**20
# 32 MiB and about 0.1 s for a password.
_COST = {"n": 2**15, "r": 8, "p": 1}
_MOST_MEMORY = 2**26
# Two at once: more would take much memory, and all cores from a search.
_HASHING = threading.BoundedSemaphore(2)


class Role(StrEnum):
    """What a visitor may do. A reader sees everything; an operator also changes it."""

    READER = "reader"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Account:
    """A user. `salt` and `hash`: base64. `cost`: scrypt's n, r and p."""

    role: Role
    salt: str
    hash: str
    cost: Mapping[str, int]


_NOBODY = Account(Role.READER, base64.b64encode(bytes(16)).decode(), "", _COST)


def users_file(settings: Settings) -> Path:
    """Where the users of a database's page are unless told otherwise: in the project's folder."""
    return (database_folder(settings.storage) or Path()) / _FILE


class Accounts:
    """The users in a file, which need not exist."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._stamp: object = None
        self._accounts: dict[str, Account] = {}

    def find(self, name: str) -> Account | None:
        """Raises UsageError for a file that cannot be read."""
        return self._current().get(name)

    @property
    def is_empty(self) -> bool:
        return not self._current()

    def check(self, name: str, password: str) -> Account | None:
        """The account, if the password is its own. An unknown name takes as long as a wrong
        password."""
        account = self.find(name)
        computed = _hash(password, account or _NOBODY)
        is_right = hmac.compare_digest(computed, (account or _NOBODY).hash)
        return account if is_right else None

    def put(self, name: str, password: str, role: Role) -> bool:
        """Add a user, or give one a new password and role; whether the user is new. Raises
        UsageError."""
        check_user_name(name)
        check_password(password)
        salt = base64.b64encode(secrets.token_bytes(16)).decode()
        blank = Account(role, salt, "", _COST)
        account = Account(role, salt, _hash(password, blank), _COST)
        with self._changing() as accounts:
            is_new = name not in accounts
            accounts[name] = account
        return is_new

    def remove(self, name: str) -> None:
        """Raises UsageError for an unknown user."""
        with self._changing() as accounts:
            if accounts.pop(name, None) is None:
                names = ", ".join(sorted(accounts)) or "nobody"
                raise UsageError(f"{self.file} has no user {shown(name)}; it has: {names}")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Account]]:
        """The accounts, written when the block ends without an error."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with exclusive_lock(self.file.with_suffix(".lock"), on_wait=lambda: None):
                accounts = _read(self.file)
                yield accounts
                _write(self.file, accounts)
        except OSError as error:
            raise UsageError(f"{self.file}: cannot be written: {error.strerror}") from error

    def _current(self) -> dict[str, Account]:
        with self._lock:
            stamp = _stamp(self.file)
            if stamp != self._stamp:
                self._accounts = _read(self.file)
                self._stamp = stamp
            return self._accounts


def check_user_name(name: str) -> None:
    """Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{shown(name)} is no name for a user: up to 64 letters, digits, . _ @ and -, "
            "beginning with a letter, a digit or _"
        )


def check_password(password: str) -> None:
    """Raises UsageError."""
    if not SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise UsageError(
            f"a password has from {SHORTEST_PASSWORD} to {_LONGEST_PASSWORD} characters, "
            f"got {len(password)}"
        )


def _hash(password: str, account: Account) -> str:
    with _HASHING:
        computed = hashlib.scrypt(
            password[:_LONGEST_PASSWORD].encode(errors="surrogatepass"),
            salt=base64.b64decode(account.salt),
            maxmem=_MOST_MEMORY,
            dklen=32,
            **account.cost,
        )
    return base64.b64encode(computed).decode()


def _stamp(file: Path) -> object:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_private(status: os.stat_result) -> bool:
    """Whether no other user may read the file. One of root's that our group may read is what an
    administrator gives a service: Kubernetes mounts secrets so."""
    if status.st_uid == 0 and status.st_uid != os.geteuid():
        return not status.st_mode & 0o037
    return not status.st_mode & 0o077


def _read(file: Path) -> dict[str, Account]:
    """Raises UsageError for what is no users file, or may be changed by other users."""
    try:
        with file.open("rb") as opened:
            if not _is_private(os.fstat(opened.fileno())):
                raise UsageError(f"{file} may be read by other users; run: chmod 600 {file}")
            text = opened.read(_MOST_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        return {str(name): _account(values) for name, values in json.loads(text)["users"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{file} is no users file, or is damaged; remove it and add the users again"
        ) from error


def _account(values: Mapping[str, Any]) -> Account:
    cost = {name: int(values["cost"][name]) for name in _COST}
    if not (0 < 128 * cost["n"] * cost["r"] < _MOST_MEMORY and 0 < cost["p"] <= 4):
        raise ValueError(cost)
    for name in ("salt", "hash"):
        if len(base64.b64decode(values[name], validate=True)) < 16:
            raise ValueError(name)
    return Account(Role(values["role"]), str(values["salt"]), str(values["hash"]), cost)


def _write(file: Path, accounts: Mapping[str, Account]) -> None:
    """Only this user may read the file, which appears complete or not at all."""
    users = {name: asdict(account) for name, account in sorted(accounts.items())}
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(json.dumps({"users": users}, indent=2) + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
