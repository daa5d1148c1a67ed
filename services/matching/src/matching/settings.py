"""Settings of matching: those of every service, and what signs a bank's notifications."""

from pathlib import Path

from pydantic import SecretStr
from shared.settings import Settings


class MatchingSettings(Settings):
    """Variables carry the prefix ENCOURS_."""

    webhook_secret: SecretStr = SecretStr("")
    """Standard Webhooks secret (`whsec_...`) of payment notifications; empty: none is accepted."""
    pull_sources_file: Path | None = None
    """A JSON file of the places that bank files are fetched from (`matching.pulling`); none: nothing is."""
    virtual_iban_quarantine_days: int = 400
    """How long a released virtual IBAN rests before another party may get it: a year and a month, in which a debtor may
    still pay by an old template."""
