"""Reads bank files: `read` finds out by content what a file is and yields its entries and statements, one by one.

One module per family of formats, one normalised form for all (`matching.domain.statements`). Readers never load a file whole,
never round, never guess: an entry that cannot be read makes its statement wrong, a file that cannot be read raises BankFileError.
"""

from matching.bankfiles.archives import is_packed
from matching.bankfiles.detection import MAX_BYTES, detect, messages, read
from matching.bankfiles.errors import BankFileError, NotAStatementError

__all__ = ["MAX_BYTES", "BankFileError", "NotAStatementError", "detect", "is_packed", "messages", "read"]
