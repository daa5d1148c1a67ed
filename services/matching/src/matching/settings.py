"""Settings of matching: those of every service, and what signs a bank's notifications."""

from pydantic import SecretStr
from shared.settings import Settings


class MatchingSettings(Settings):
    """Variables carry the prefix ENCOURS_."""

    webhook_secret: SecretStr = SecretStr("")
    """Standard Webhooks secret (`whsec_...`) of payment notifications; empty: none is accepted."""
