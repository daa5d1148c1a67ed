"""The tables of the receivables sub-ledger, one module per noun; all hang on one METADATA.

Amounts are minor units. Remittance text, names and IBANs of payers never leave these tables.
"""

from matching.tables import bank, books, expected, hand_work, parties
from matching.tables.columns import METADATA

__all__ = ["METADATA", "bank", "books", "expected", "hand_work", "parties"]
