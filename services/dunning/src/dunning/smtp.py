"""Mails over SMTP, and what became of each.

Invariant: an outcome is `in_doubt` only where the server may have taken the mail and not told us: from the moment its
content goes out until the reply is read. Everything before that is known not to have been sent. So a kept connection that
takes no further mail costs nothing but a new one.
"""

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

import aiosmtplib

TIMEOUT_SECONDS, QUIT_SECONDS = 30.0, 2.0
_PERMANENT = 500
_REFUSALS = range(400, 600)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`sent`; `refused` for good (5xx); `later` (4xx, unreachable: nothing was sent); `in_doubt`. `detail` has no addresses."""

    kind: Literal["sent", "refused", "later", "in_doubt"]
    detail: str


class Smtp:
    """A server: `smtp://[user:password@]host[:port]` (STARTTLS where offered) or `smtps://...`.

    Connections are kept from mail to mail until `close`; there are as many as `send` runs side by side.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._kept: list[aiosmtplib.SMTP] = []

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
        """Sends one mail, on a kept connection where there is one that takes it."""
        client = await self._again(sender)
        refused = None
        try:
            if client is None:
                client, user, password = self._client(sender)
                refused = await self._offer(client, user, password, sender)
            outcome = refused or await self._name(client, recipient) or await self._deliver(client, mail)
        except BaseException:
            if client is not None:
                client.close()
            raise
        await self._keep(client, outcome)
        return outcome

    async def close(self) -> None:
        """Takes leave of the server."""
        kept, self._kept = self._kept, []
        await asyncio.gather(*map(_quit, kept))

    async def _again(self, sender: str) -> aiosmtplib.SMTP | None:
        """A kept connection that takes one more mail; None where there is none, or it does not: a new one may."""
        if not self._kept:
            return None
        client = self._kept.pop()
        try:
            await client.mail(sender)
        except (aiosmtplib.SMTPException, OSError):
            client.close()
            return None
        return client

    async def _keep(self, client: aiosmtplib.SMTP, outcome: Outcome) -> None:
        """Keeps a connection for the next mail as far as it is known where the dialogue stands."""
        try:
            if outcome.kind == "in_doubt" or not client.is_connected:
                client.close()
                return
            if outcome.kind != "sent":
                await client.rset()
        except (aiosmtplib.SMTPException, OSError):
            client.close()
            return
        self._kept.append(client)

    async def _offer(self, client: aiosmtplib.SMTP, user: str | None, password: str | None, sender: str) -> Outcome | None:
        """Everything before the recipient; None when the server takes mail."""
        try:
            await client.connect()
            if user and password:
                await client.login(user, password)
            await client.mail(sender)
        except aiosmtplib.SMTPAuthenticationError as error:
            client.close()
            return Outcome("later", f"login refused: {error.code}")  # our fault, not the recipient's: to be put right
        except aiosmtplib.SMTPResponseException as error:
            client.close()
            return _replied(error)
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            return Outcome("later", type(error).__name__)
        return None

    async def _name(self, client: aiosmtplib.SMTP, recipient: str) -> Outcome | None:
        """The recipient; None when the server is ready for the content."""
        try:
            await client.rcpt(recipient)
        except aiosmtplib.SMTPResponseException as error:
            return _replied(error)
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
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


async def _quit(client: aiosmtplib.SMTP) -> None:
    with suppress(aiosmtplib.SMTPException, OSError):
        await client.quit(timeout=QUIT_SECONDS)
    client.close()
