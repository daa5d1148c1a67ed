"""Settings of partners."""

from shared.settings import Settings as Shared


class Settings(Shared):
    """What partners needs beside the rest."""

    allow_loopback_webhooks: bool = False
    """Lets webhooks go to loopback over plain HTTP: for one machine's demo and tests, never in production."""
