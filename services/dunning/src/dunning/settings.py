"""Settings of dunning."""

from pydantic import SecretStr
from shared.settings import Settings as Shared


class Settings(Shared):
    """What dunning needs beside the rest."""

    smtp_url: SecretStr = SecretStr("smtp://127.0.0.1:25")
    """Where mail goes: smtp://[user:password@]host[:port], or smtps://."""
