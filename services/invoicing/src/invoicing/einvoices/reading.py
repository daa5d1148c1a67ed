"""A file as it was read: what it says, whether it holds, and why not."""

import hashlib
from typing import NamedTuple

from invoicing.domain.einvoice import EInvoice, Finding
from invoicing.einvoices.booking import Booked


class Reading(NamedTuple):
    """A file as it was read: `verdict` is `accepted`, `rejected` (a finding is fatal) or `unreadable` (because of `reason`).

    `format` is the syntax of the invoice; `container` what it came in (`pdf`, `sbd`), `embedded` the name it bears there;
    `documents` are the readings of an envelope that holds several invoices.
    """

    format: str
    verdict: str
    sha256: str
    invoice: EInvoice | None = None
    booked: Booked | None = None
    findings: tuple[Finding, ...] = ()
    reason: str | None = None
    profile: str | None = None
    profile_known: bool = True
    rule_sets: tuple[str, ...] = ()
    container: str | None = None
    embedded: str | None = None
    documents: tuple["Reading", ...] = ()

    @property
    def fatal(self) -> list[Finding]:
        """The findings that reject the invoice."""
        return [each for each in self.findings if each.severity == "fatal"]


def digest(data: bytes) -> str:
    """The SHA-256 of a file: its name in the content-addressed store."""
    return hashlib.sha256(data).hexdigest()
