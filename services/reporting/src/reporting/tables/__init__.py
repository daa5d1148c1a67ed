"""Tables of reporting, one module per noun: what it keeps of others' aggregates, and what it measured; all hang on one METADATA.

Invariants:
- a column of a kept table has the name of the event's field (`tenant_id` and `entity_id` come from the envelope), so that
  one handler fills them all; `version` is the aggregate's, and the row with the highest one stays;
- everything in `READ_MODELS` is a function of the set of events seen, whatever their order and repetition: a rebuild makes
  the same rows. `measured` holds decisions, each taken once at its moment: no rebuild touches it;
- no foreign key ties rows that different topics feed.
"""

from sqlalchemy import Column, Table, Text
from sqlalchemy.dialects.postgresql import UUID

from reporting.tables import collection, customers, items, measured, money
from reporting.tables.columns import ALIAS, METADATA

EVENT_SEEN = Table(
    "event_seen",
    METADATA,
    Column("tenant_id", UUID, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("event_id", UUID, primary_key=True),
)
READ_MODELS = (
    ALIAS,
    customers.CUSTOMER,
    customers.CUSTOMER_IDENTITY,
    items.INVOICE,
    items.INVOICE_STATUS,
    items.OPEN_ITEM,
    money.PAYMENT,
    items.ACCOUNT_BALANCE,
    money.COLLECTION_ACCOUNT,
    money.RECONCILIATION,
    money.VIRTUAL_IBAN,
    customers.SCORE,
    customers.CREDIT_TERMS,
    customers.CREDIT_HOLD,
    collection.PROMISE,
    collection.PAYMENT_PLAN,
    collection.DISPUTE,
    items.WRITE_OFF,
    money.PAYMENT_ANNOUNCEMENT,
    collection.REMINDER,
    money.REJECTED_STATEMENT,
    EVENT_SEEN,
)

__all__ = ["METADATA", "READ_MODELS", "collection", "customers", "items", "measured", "money"]
