"""Mail: a letter as a message, and the way to the mail server.

Source: spec management.md §9.6. Port 465 is TLS from the start; a server without account and password is spoken to
plainly; any other must offer STARTTLS, or be this very machine, before it is told the password. Certificates are
checked (D-45), unless SMTP_SKIP_VERIFY says that they are not.
"""

from __future__ import annotations

import re
import secrets
import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from oneapi.i18n.letters import Letter
from oneapi.options import Options

TIMEOUT_S = 20.0
PORT_TLS = 465
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# As much of RFC 5321 as anybody has in a mailbox: no quotes, no comments, nothing that a header could trip over.
_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f-\U0010ffff]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


class MailFailed(Exception):
    """A letter was not taken. The message says what the server, or the way to it, objected to."""


def is_address(text: str) -> bool:
    """Whether this looks like one mailbox."""
    return len(text) <= 254 and _ADDRESS.fullmatch(text) is not None


def receivers(text: str) -> list[str]:
    """Addresses that stand in one text, separated by semicolons."""
    return [part.strip() for part in text.split(";") if part.strip()]


def is_configured(options: Options) -> bool:
    return bool(options.smtp_server and _sender(options))


def send(
    options: Options, to: Sequence[str], letter: Letter, *, skip_verify: bool, timeout_s: float = TIMEOUT_S
) -> None:
    """Hands the letter to the mail server. Raises MailFailed where not every receiver's copy was taken."""
    if not is_configured(options):
        raise MailFailed("No mail server is configured.")
    message = composed(options, to, letter)
    envelope_sender = options.smtp_account if "@" in options.smtp_account else _sender(options)
    try:
        with _session(options, skip_verify=skip_verify, timeout_s=timeout_s) as server:
            refused = server.send_message(message, envelope_sender, list(to))
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        raise MailFailed(f"{options.smtp_server}: {_said(error)}") from error
    if refused:
        raise MailFailed(f"{options.smtp_server} refused {', '.join(sorted(refused))}.")


def composed(options: Options, to: Sequence[str], letter: Letter) -> EmailMessage:
    """The message: HTML, and the same as plain text for who prefers that."""
    sender = _sender(options)
    message = EmailMessage(policy=SMTP)
    message["Subject"] = _line(letter.subject)
    message["From"] = str(Address(_line(options.system_name), addr_spec=sender))
    message["To"] = ", ".join(to)
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{secrets.token_hex(16)}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: holidays need not be told
    message.set_content(letter.as_text(options.system_name), cte="base64")
    message.add_alternative(letter.as_html(options.system_name), subtype="html", cte="base64")
    return message


@contextmanager
def _session(options: Options, *, skip_verify: bool, timeout_s: float) -> Iterator[smtplib.SMTP]:
    host, port = options.smtp_server, options.smtp_port
    has_account = bool(options.smtp_account or options.smtp_token)
    is_tls = port == PORT_TLS
    server = smtplib.SMTP(timeout=timeout_s)
    if is_tls:
        server = smtplib.SMTP_SSL(timeout=timeout_s, context=_tls(skip_verify))
    # Whose certificate it must be. Told to the constructor, it would connect there, and leak the socket when killed.
    server._host = host  # type: ignore[attr-defined]
    try:
        code, said = server.connect(host, port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        server.ehlo_or_helo_if_needed()
        if has_account and not is_tls:
            if server.has_extn("starttls"):
                server.starttls(context=_tls(skip_verify))
            elif host not in _LOOPBACK:
                raise smtplib.SMTPException("it offers no encryption, and the password is not sent in clear")
        if has_account:
            server.login(options.smtp_account, options.smtp_token)
        yield server
        # What was taken is sent, whatever a server says to a good-bye; some hang up instead of answering.
        with suppress(OSError, smtplib.SMTPException):
            server.quit()
    finally:
        server.close()


def _tls(skip_verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _sender(options: Options) -> str:
    return options.smtp_from or options.smtp_account


def _line(text: str) -> str:
    """Text for a header, which is one line."""
    return " ".join(text.split())


def _said(error: Exception) -> str:
    """The error without what was sent: a refused login quotes nothing, but its class may hold bytes."""
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        return f"{error.smtp_code} {said.decode(errors='replace') if isinstance(said, bytes) else said}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{code} {said.decode(errors='replace')}" for code, said in error.recipients.values())
    return str(error) or type(error).__name__
