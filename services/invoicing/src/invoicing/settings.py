"""Settings of invoicing: those of every service; received files go to its `documents_dir`."""

from pathlib import Path

from shared.settings import Settings


class InvoicingSettings(Settings):
    """What invoicing needs beyond what every service does."""

    drops_file: Path | None = None
    """TOML file of the folders that are watched for files to import, and of the SFTP servers they are fetched from (`drops.py`)."""
