"""Who is told: a web address by a POST of JSON, in the form that its service reads, or a mailbox.

An address is a secret: its path is all that whoever posts to Slack or Discord needs. It is never
shown, only its host.
"""

import html
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, urlsplit

from tuner.errors import NoticeError, UsageError
from tuner.notices.announcements import Announcement
from tuner.notices.mail import MailReceiver, parse_mail_address
from tuner.settings import tuner_version
from tuner.system.addresses import LOOPBACK_NAMES
from tuner.system.secret_masking import mask_records, remember_address
from tuner.values import shown

if TYPE_CHECKING:
    import httpx

# One request, in seconds: to connect, and from one part of the answer to the next.
TIMEOUT_S = 5.0
# Discord refuses longer texts.
_LONGEST_TEXT = 1900
_WEB_SCHEMES = ("http", "https")
_MAIL_SCHEMES = ("smtp", "smtps")


class Receiver(Protocol):
    """Where announcements go. `name`: as messages show it, without secrets."""

    @property
    def name(self) -> str: ...

    def send(self, announcement: Announcement) -> None:
        """Raises NoticeError."""
        ...


def _plain_body(announcement: Announcement) -> dict[str, Any]:
    return announcement.facts


def _slack_body(announcement: Announcement) -> dict[str, Any]:
    # Slack reads <!channel> in a name as a call to everybody.
    return {"text": html.escape(announcement.text, quote=False)}


def _discord_body(announcement: Announcement) -> dict[str, Any]:
    # Nor must @everyone in a name call anybody.
    return {"content": announcement.text[:_LONGEST_TEXT], "allowed_mentions": {"parse": []}}


@dataclass(frozen=True)
class MessageFormat:
    """What a service reads. `hosts`: those whose addresses take it without being told."""

    body: Callable[[Announcement], dict[str, Any]]
    hosts: tuple[str, ...] = ()


# By the word before the + of a scheme: slack+https://.
FORMATS = {
    "plain": MessageFormat(_plain_body),
    "slack": MessageFormat(_slack_body, ("hooks.slack.com", "hooks.slack-gov.com")),
    "discord": MessageFormat(
        _discord_body, ("discord.com", "discordapp.com", "canary.discord.com")
    ),
}


class WebReceiver:
    """Posts JSON to an address. Redirects are not followed: they could lead to another host."""

    def __init__(self, url: str, body: Callable[[Announcement], dict[str, Any]]) -> None:
        self._url, self._body = url, body
        self.name = urlsplit(url).hostname or ""

    @cached_property
    def _client(self) -> "httpx.Client":
        """Made once, since reading the certificates takes 50 ms of CPU. No connection is kept: the
        next announcement may come hours later."""
        import httpx  # here, since most searches tell nobody

        mask_records(logging.getLogger("httpx"))
        return httpx.Client(
            timeout=TIMEOUT_S,
            follow_redirects=False,
            headers={"User-Agent": f"tuner/{tuner_version()}"},
            limits=httpx.Limits(max_keepalive_connections=0),
            # What this machine tells itself is not for the environment's proxy.
            mounts={f"all://{host}": None for host in LOOPBACK_NAMES},
        )

    def send(self, announcement: Announcement) -> None:
        import httpx

        try:
            body = self._body(announcement)
            with self._client.stream("POST", self._url, json=body) as response:
                status = response.status_code  # what else it answers is not read
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise NoticeError(_reason(error), may_pass=True) from error
        if not 200 <= status < 300:
            raise _refusal(status)


def _reason(error: Exception) -> str:
    """Why a request failed; a library's own words may hold the address."""
    name = type(error).__name__
    if "Timeout" in name:
        return f"no answer within {TIMEOUT_S:.0f} s"
    return "no connection" if name == "ConnectError" else f"no answer ({name})"


def _refusal(status: int) -> NoticeError:
    if 300 <= status < 400:
        return NoticeError(
            f"it answered {status}, a redirect, which is not followed: give the address it leads to"
        )
    return NoticeError(f"it answered {status}", may_pass=status in (408, 425, 429) or status >= 500)


OPTION = "--notify"


def read_addresses(texts: Sequence[str], option: str = OPTION) -> list[str]:
    """The addresses of --notify and TUNER_NOTIFY: each a URL, or @FILE with one a line, in which
    empty lines and those that begin with # are left out. All are secrets from now on. `option`: as
    the user wrote it. Raises UsageError."""
    addresses: list[str] = []
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"{option} must be an address or a list of them, got {shown(text)}")
        addresses += _lines(Path(text[1:]).expanduser(), option) if text[:1] == "@" else [text]
    for address in addresses:
        remember_address(address)
    return addresses


def _lines(file: Path, option: str) -> list[str]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"{option} @{file}: the file cannot be read: {reason}") from error
    return [line for line in lines if line and not line.startswith("#")]


def check_addresses(texts: Sequence[str], option: str = OPTION) -> None:
    """Raises UsageError for texts of which no receivers can be made."""
    for address in read_addresses(texts, option):
        make_receiver(address, option)


def make_receiver(address: str, option: str = OPTION) -> Receiver:
    """The receiver of a URL. Raises UsageError, which does not show the URL."""
    scheme, host = "", None
    try:
        parts = urlsplit(address)
        scheme, host = parts.scheme.lower(), parts.hostname
        _ = parts.port  # it is read here, where it may be none
    except ValueError as error:
        raise _no_address("it is no URL", option) from error
    if not host:
        raise _no_address("it has no host" if scheme else "it is no URL", option)
    if scheme in _MAIL_SCHEMES:
        return MailReceiver(parse_mail_address(parts, option))
    word, plus, transport = scheme.rpartition("+")
    if transport not in _WEB_SCHEMES or (plus and word not in FORMATS):
        raise _no_address(f"its scheme {scheme} is none of them", option)
    url = address[len(word) + 1 :] if plus else address
    return WebReceiver(url, FORMATS[word].body if plus else _format_of(parts).body)


def _format_of(parts: SplitResult) -> MessageFormat:
    """By the host, so that addresses work as Slack and Discord show them."""
    matching = (form for form in FORMATS.values() if parts.hostname in form.hosts)
    return next(matching, FORMATS["plain"])


def _no_address(problem: str, option: str) -> UsageError:
    return UsageError(
        f"{option}: {problem}; it takes https://HOST/PATH, "
        "slack+https://HOST/PATH, discord+https://HOST/PATH, "
        "smtp://HOST:587/?to=ADDRESS, or @FILE of such lines"
    )
