"""Settings of reporting."""

from shared.settings import Settings as Shared


class Settings(Shared):
    """Reporting needs what every service needs."""
