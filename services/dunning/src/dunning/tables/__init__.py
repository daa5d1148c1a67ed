"""The tables of dunning, one module per noun: what it keeps of others, and what it decides itself; all hang on one METADATA.

Invariants: `tenant_id` leads every key; replicas (`customers`, `items`, `money`) hold their aggregate's `version`, the highest seen, and no
foreign key ties them, for they are fed by different topics; money is an integer of minor units that no row lets fall below zero.
"""

from dunning.tables import agreements, customers, items, money, reminders
from dunning.tables.columns import METADATA

__all__ = ["METADATA", "agreements", "customers", "items", "money", "reminders"]
