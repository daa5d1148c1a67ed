"""Settings of invoicing: those of every service; received files go to its `documents_dir`."""

from shared.settings import Settings


class InvoicingSettings(Settings):
    """Nothing beyond what every service needs."""
