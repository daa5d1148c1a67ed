"""Reports that have balances and sums and none of the entries: MT941, a camt.052 or an account of BAI2 of that kind."""

from matching.domain.statements import Statement

_DIFFERS = frozenset({"count_differs", "sum_differs", "balance_differs"})


def without_entries(statement: Statement) -> None:
    """Where it has no entry, what it states of them is told elsewhere: nothing is booked of it, and nothing needs to add up."""
    if statement.entries or (statement.verdict() or ("",))[0] not in _DIFFERS:
        return
    statement.remarks.append("balances without transactions: a summary")
    statement.opening_minor = statement.stated_entries = statement.stated_sum_minor = None
    statement.stated_credit = statement.stated_debit = (None, None)
