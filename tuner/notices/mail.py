"""Announcements by e-mail, over SMTP with TLS."""

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from urllib.parse import SplitResult, parse_qs, unquote

from tuner.errors import NoticeError, UsageError
from tuner.notices.announcements import Announcement
from tuner.system.addresses import is_loopback

_TIMEOUT_S = 5.0
_PORTS = {"smtp": 587, "smtps": 465}
_LONGEST_SUBJECT = 200


@dataclass(frozen=True)
class MailAddress:
    """A server, who logs in there, and who is written to. `is_tls`: TLS from the first byte;
    otherwise by STARTTLS, where the server offers it."""

    host: str
    port: int
    is_tls: bool
    user: str | None
    password: str | None
    sender: str
    to: tuple[str, ...]


def parse_mail_address(parts: SplitResult, option: str) -> MailAddress:
    """smtp://USER:PASSWORD@HOST:PORT/?to=A&to=B&from=C. Raises UsageError."""
    query = parse_qs(parts.query)
    user = unquote(parts.username) if parts.username else None
    host = parts.hostname or ""
    sender = query.get("from", [user if user and "@" in user else f"tuner@{socket.getfqdn()}"])[0]
    to = tuple(name.strip() for names in query.get("to", []) for name in names.split(","))
    if not to:
        raise UsageError(f"{option} {parts.scheme}://{host}: say who is written to: ?to=YOU@HOST")
    for name in (sender, *to):
        if "@" not in name or not name.isprintable() or " " in name:
            raise UsageError(
                f"{option} {parts.scheme}://{host}: to= and from= take addresses such as you@host"
            )
    return MailAddress(
        host=host,
        port=parts.port or _PORTS[parts.scheme.lower()],
        is_tls=parts.scheme.lower() == "smtps",
        user=user,
        password=unquote(parts.password) if parts.password else None,
        sender=sender,
        to=to,
    )


class MailReceiver:
    """Sends a short mail for each announcement."""

    def __init__(self, address: MailAddress) -> None:
        self._address = address
        self.name = f"mail by {address.host}"

    def send(self, announcement: Announcement) -> None:
        try:
            with self._connection() as server:
                self._log_in(server)
                server.send_message(self._message(announcement))
        except smtplib.SMTPAuthenticationError as error:
            raise NoticeError("its user or password was refused") from error
        except smtplib.SMTPResponseException as error:
            # 4xx: later, 5xx: never. What the server says may repeat what it was sent.
            may_pass = 400 <= error.smtp_code < 500
            raise NoticeError(f"it answered {error.smtp_code}", may_pass=may_pass) from error
        except smtplib.SMTPRecipientsRefused as error:
            raise NoticeError("it refused who is written to") from error
        except ssl.SSLCertVerificationError as error:
            raise NoticeError("its certificate is not valid for this host") from error
        except (smtplib.SMTPException, OSError) as error:
            raise NoticeError(f"no answer ({type(error).__name__})", may_pass=True) from error
        except (MessageError, ValueError) as error:
            raise NoticeError(f"the mail cannot be written ({type(error).__name__})") from error

    @contextmanager
    def _connection(self) -> Iterator[smtplib.SMTP]:
        address, context = self._address, ssl.create_default_context()
        server: smtplib.SMTP
        if address.is_tls:
            server = smtplib.SMTP_SSL(
                address.host, address.port, timeout=_TIMEOUT_S, context=context
            )
        else:
            server = smtplib.SMTP(address.host, address.port, timeout=_TIMEOUT_S)
        try:
            if not address.is_tls:
                self._encrypt(server, context)
            yield server
        finally:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                server.quit()

    def _encrypt(self, server: smtplib.SMTP, context: ssl.SSLContext) -> None:
        """Raises NoticeError where a password would cross the network unencrypted."""
        server.ehlo_or_helo_if_needed()
        if server.has_extn("starttls"):
            server.starttls(context=context)
        elif self._address.password and not is_loopback(self._address.host):
            raise NoticeError("it offers no STARTTLS, so the password is not sent: use smtps://")

    def _log_in(self, server: smtplib.SMTP) -> None:
        if self._address.user is not None:
            server.login(self._address.user, self._address.password or "")

    def _message(self, announcement: Announcement) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = f"tuner: {announcement.text}"[:_LONGEST_SUBJECT]
        message["From"] = self._address.sender
        message["To"] = ", ".join(self._address.to)
        message["Date"] = format_datetime(announcement.at)
        message["Message-ID"] = make_msgid(domain="tuner.localdomain")
        message["Auto-Submitted"] = "auto-generated"  # no reply by an absent reader's program
        facts = announcement.facts
        lines = [f"{name}: {value}" for name, value in facts.items() if value is not None]
        message.set_content("\n".join([announcement.text, "", *lines]) + "\n")
        return message
