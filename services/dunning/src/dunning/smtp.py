"""One mail over SMTP, and what became of it.

Invariant: an outcome is `in_doubt` only where the server may have taken the mail and not told us: from the moment its
content goes out until the reply is read. Everything before that is known not to have been sent.
"""

import ssl
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

import aiosmtplib

TIMEOUT_SECONDS = 30.0
_PERMANENT = 500
_REFUSALS = range(400, 600)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`sent`; `refused` for good (5xx); `later` (4xx, unreachable: nothing was sent); `in_doubt`. `detail` has no addresses."""

    kind: Literal["sent", "refused", "later", "in_doubt"]
    detail: str


@dataclass(frozen=True, slots=True)
class Smtp:
    """A server: `smtp://[user:password@]host[:port]` (STARTTLS where offered) or `smtps://...`."""

    url: str

    def _client(self, sender: str) -> tuple[aiosmtplib.SMTP, str | None, str | None]:
        parts = urlsplit(self.url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("ENCOURS_SMTP_URL is written smtp://host:port or smtps://host:port")
        tls = parts.scheme == "smtps"
        client = aiosmtplib.SMTP(
            hostname=parts.hostname,
            port=parts.port or (465 if tls else 25),
            use_tls=tls,
            tls_context=ssl.create_default_context() if tls else None,
            timeout=TIMEOUT_SECONDS,
            local_hostname=sender.rpartition("@")[2],
        )
        return client, parts.username and unquote(parts.username), parts.password and unquote(parts.password)

    async def send(self, sender: str, recipient: str, mail: bytes) -> Outcome:
        """Sends one mail on a connection of its own."""
        client, user, password = self._client(sender)
        try:
            outcome = await self._offer(client, user, password, sender, recipient)
            return outcome or await self._deliver(client, mail)
        finally:
            client.close()

    async def _offer(self, client: aiosmtplib.SMTP, user: str | None, password: str | None, sender: str, recipient: str) -> Outcome | None:
        """Everything before the content; None when the server is ready for it."""
        try:
            await client.connect()
            if user and password:
                await client.login(user, password)
            await client.mail(sender)
            await client.rcpt(recipient)
        except aiosmtplib.SMTPAuthenticationError as error:
            return Outcome("later", f"login refused: {error.code}")  # our fault, not the recipient's: to be put right
        except aiosmtplib.SMTPResponseException as error:
            return _replied(error)
        except (aiosmtplib.SMTPException, OSError) as error:
            return Outcome("later", type(error).__name__)
        return None

    async def _deliver(self, client: aiosmtplib.SMTP, mail: bytes) -> Outcome:
        try:
            await client.data(mail)
        except aiosmtplib.SMTPResponseException as error:
            if error.code in _REFUSALS:
                return _replied(error)
            return Outcome("in_doubt", f"an unreadable reply after the content: {error.code}")
        except (aiosmtplib.SMTPException, OSError) as error:
            return Outcome("in_doubt", f"no reply after the content: {type(error).__name__}")
        return Outcome("sent", "accepted")


def _replied(error: aiosmtplib.SMTPResponseException) -> Outcome:
    return Outcome("refused" if error.code >= _PERMANENT else "later", f"server replied {error.code}")
