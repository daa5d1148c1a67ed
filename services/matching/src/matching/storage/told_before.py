"""Payments that a transaction may be though their keys differ: they have the same amount, and its TxId, UETR or EndToEndId."""

from collections.abc import Iterator, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.statements import Transaction
from matching.storage.bank import KNOWN, BankAccount, Known
from matching.storage.rows import fetch

# Each is looked up by its whole key: of a table without statistics the planner would read all of the account, once a slice; and once for
# each value, if it saw that the account is one that the statistics do not know yet (hence the selects, which it does not look into).
_BY = (
    "SELECT '{column}', p.*, e.value FROM unnest(CAST(:{values} AS text[])) AS e(value) CROSS JOIN LATERAL (SELECT {known} "
    "FROM payment WHERE tenant_id = (SELECT CAST(:tenant AS uuid)) AND bank_account_id = (SELECT CAST(:account AS uuid)) "
    "AND {column} = e.value OFFSET 0) AS p"
)
_COLUMNS = {"transaction_id": "txs", "end_to_end_id": "ends"}
TOLD_BEFORE = (
    " UNION ALL ".join(_BY.format(column=column, values=values, known=KNOWN) for column, values in _COLUMNS.items())
    + " ORDER BY confirmation DESC, payment_id"
)


class ToldBefore:
    """The account's payments by TxId or UETR, and by EndToEndId, each with the amount."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int], list[Known]] = {}

    def add(self, by: str, value: str, match: Known) -> None:
        """Notes a payment."""
        self._found.setdefault((by, value, match.amount_minor), []).append(match)

    def of(self, one: Transaction) -> Iterator[tuple[str, Known]]:
        """Those that a transaction may be, each with what the two have in common; TxId, which is unique between banks, first."""
        for by in _COLUMNS:
            if value := getattr(one, by):
                yield from ((by, match) for match in self._found.get((by, value, one.amount_minor), ()))


async def told_before(conn: AsyncConnection, held: BankAccount, told: Sequence[Transaction]) -> ToldBefore:
    """The payments of an account that transactions may be."""
    found = ToldBefore()
    values = {name: [*dict.fromkeys(value for one in told if (value := getattr(one, by)))] for by, name in _COLUMNS.items()}
    if any(values.values()):
        for by, *match, value in await fetch(conn, TOLD_BEFORE, tenant=held.tenant_id, account=held.bank_account_id, **values):
            found.add(by, value, Known(*match))
    return found
