"""What always holds in the sub-ledger, as queries that find violations.

Cost in production: each is one pass over its table or index; the conservation checks repeat what CHECK constraints hold,
so that a restored or hand-repaired database is looked at too. Those that join use the primary keys of `payment` and
`open_item`, `allocation_item` and `set_off_item`.
"""

from shared.invariants import Check

_SETTLED = "cash_minor + discount_minor + credit_minor + charges_minor + withheld_minor + set_off_minor + written_off_minor"

CHECKS = (
    Check(
        "payments_are_conserved",
        "SELECT 'payment ' || payment_id AS what FROM payment "
        "WHERE amount_minor <> allocated_minor + unapplied_minor + returned_minor + refunded_minor",
    ),
    Check(
        "items_are_conserved",
        f"SELECT 'item ' || item_id AS what FROM open_item WHERE original_minor <> open_minor + {_SETTLED}",  # noqa: S608 - ours
    ),
    Check(
        "nothing_is_over_allocated",
        "SELECT 'payment ' || payment_id AS what FROM payment WHERE allocated_minor > amount_minor OR unapplied_minor < 0 "
        "UNION ALL SELECT 'item ' || item_id FROM open_item WHERE open_minor < 0 OR cash_minor > original_minor",
    ),
    Check(
        "allocations_agree_with_payments",
        "SELECT 'payment ' || p.payment_id AS what FROM payment p LEFT JOIN (SELECT tenant_id, payment_id, sum(amount_minor) AS total "
        "FROM allocation GROUP BY 1, 2) a USING (tenant_id, payment_id) WHERE p.allocated_minor <> coalesce(a.total, 0)",
    ),
    Check(
        "allocations_agree_with_items",
        "SELECT 'item ' || i.item_id AS what FROM open_item i LEFT JOIN (SELECT tenant_id, a.item_id, "
        "sum(coalesce(x.item_amount_minor, a.amount_minor)) AS total "
        "FROM allocation a LEFT JOIN allocation_exchange x USING (tenant_id, payment_id, item_id) GROUP BY 1, 2) a "
        "USING (tenant_id, item_id) WHERE i.cash_minor <> coalesce(a.total, 0)",
    ),
    Check(
        "differences_agree_with_items",
        "SELECT 'item ' || i.item_id AS what FROM open_item i LEFT JOIN (SELECT tenant_id, item_id, sum(diff_minor) AS total "
        "FROM allocation GROUP BY 1, 2) a USING (tenant_id, item_id) "
        "WHERE i.discount_minor + i.charges_minor + i.withheld_minor <> coalesce(a.total, 0)",
    ),
    Check(
        "allocations_stay_within_tenant_entity_and_currency",
        "SELECT 'payment ' || a.payment_id || ' item ' || a.item_id AS what FROM allocation a LEFT JOIN payment p "
        "ON p.tenant_id = a.tenant_id AND p.payment_id = a.payment_id LEFT JOIN open_item i ON i.tenant_id = a.tenant_id "
        "AND i.item_id = a.item_id LEFT JOIN allocation_exchange x ON x.tenant_id = a.tenant_id AND x.payment_id = a.payment_id "
        "AND x.item_id = a.item_id WHERE p.payment_id IS NULL OR i.item_id IS NULL OR p.entity_id <> i.entity_id "
        "OR (p.currency <> i.currency) <> (x.item_id IS NOT NULL)",
    ),
    Check(
        "exchanges_belong_to_allocations",
        "SELECT 'payment ' || x.payment_id || ' item ' || x.item_id AS what FROM allocation_exchange x LEFT JOIN allocation a "
        "USING (tenant_id, payment_id, item_id) WHERE a.item_id IS NULL",
    ),
    Check(
        "ledger_agrees_with_exchanges",
        "SELECT 'payment ' || payment_id || ' item ' || item_id AS what FROM (SELECT tenant_id, payment_id, item_id, "
        "sum(CASE WHEN l.currency = p.currency THEN step END) AS paid, sum(CASE WHEN l.currency <> p.currency THEN step END) AS got, "
        "sum(gain) AS gain FROM (SELECT tenant_id, payment_id, item_id, currency, CASE 'exchange' WHEN debit THEN amount_minor "
        "ELSE -amount_minor END AS step, CASE WHEN 'fx_gain' = credit OR 'fx_loss' = credit THEN amount_minor "
        "WHEN 'fx_gain' = debit OR 'fx_loss' = debit THEN -amount_minor ELSE 0 END AS gain FROM ledger_entry "
        "WHERE 'exchange' IN (debit, credit)) l JOIN payment p USING (tenant_id, payment_id) GROUP BY 1, 2, 3) l "
        "LEFT JOIN allocation_exchange x USING (tenant_id, payment_id, item_id) "
        "LEFT JOIN allocation a USING (tenant_id, payment_id, item_id) "
        "WHERE l.paid <> -coalesce(a.amount_minor, 0) OR l.gain <> coalesce(x.difference_minor, 0) "
        "OR l.got <> coalesce(x.item_amount_minor + x.difference_minor, 0)",
    ),
    Check(
        "set_offs_agree_with_items",
        "SELECT 'item ' || i.item_id AS what FROM open_item i LEFT JOIN (SELECT tenant_id, item_id, sum(amount) AS total FROM ("
        "SELECT tenant_id, item_id, amount_minor AS amount FROM set_off UNION ALL SELECT tenant_id, "
        "credit_item_id, amount_minor FROM set_off) s "
        "GROUP BY 1, 2) s USING (tenant_id, item_id) WHERE i.credit_minor <> coalesce(s.total, 0) AND "
        "i.close_cause IS DISTINCT FROM 'cancelled'",
    ),
    Check(
        "payments_set_off_what_is_set_off",
        "SELECT 'credit note ' || p.credit_item_id || ' item ' || p.item_id AS what FROM (SELECT tenant_id, credit_item_id, item_id, "
        "sum(amount_minor) AS total FROM payment_set_off GROUP BY 1, 2, 3) p LEFT JOIN set_off s "
        "USING (tenant_id, credit_item_id, item_id) WHERE p.total > coalesce(s.amount_minor, 0)",
    ),
    Check(
        "nothing_is_expected_of_a_plan_that_ended",
        "SELECT 'expected payment ' || e.expected_id AS what FROM expected_payment e LEFT JOIN payment_plan p USING (tenant_id, "
        "payment_plan_id) WHERE e.payment_plan_id IS NOT NULL AND e.status = 'waiting' AND p.status IS DISTINCT FROM 'active'",
    ),
    Check(
        "one_transaction_is_one_payment",
        "SELECT 'account ' || bank_account_id || ' has one transaction twice' AS what FROM payment "
        "GROUP BY tenant_id, bank_account_id, transaction_key HAVING count(*) > 1",
    ),
    Check(
        "ledger_agrees_with_items",
        "SELECT 'item ' || i.item_id AS what FROM open_item i LEFT JOIN (SELECT tenant_id, item_id, "
        "sum(CASE WHEN debit = 'receivables' THEN amount_minor WHEN credit = 'receivables' THEN -amount_minor ELSE 0 END) AS receivable, "
        "sum(CASE WHEN credit = 'credit_notes' THEN amount_minor WHEN debit = 'credit_notes' THEN -amount_minor ELSE 0 END) AS credited "
        "FROM ledger_entry WHERE item_id IS NOT NULL GROUP BY 1, 2) l USING (tenant_id, item_id) "
        "WHERE i.open_minor <> coalesce(CASE WHEN i.kind = 'credit_note' THEN l.credited ELSE l.receivable END, 0)",
    ),
    Check(
        "ledger_agrees_with_payments",
        "SELECT 'payment ' || p.payment_id AS what FROM payment p LEFT JOIN (SELECT tenant_id, payment_id, "
        "sum(CASE WHEN credit = 'unapplied' THEN amount_minor WHEN debit = 'unapplied' THEN -amount_minor ELSE 0 END) AS total "
        "FROM ledger_entry "
        "WHERE payment_id IS NOT NULL GROUP BY 1, 2) l USING (tenant_id, payment_id) WHERE p.unapplied_minor <> coalesce(l.total, 0)",
    ),
    Check(
        "ledger_agrees_with_returns",
        "SELECT 'payment ' || p.payment_id AS what FROM payment p LEFT JOIN (SELECT tenant_id, payment_id, "
        "sum(CASE WHEN credit = 'unapplied' AND debit IN ('bank', 'cash', 'recalled', 'other_receipts') THEN amount_minor "
        "WHEN debit = 'unapplied' AND credit IN ('bank', 'cash', 'recalled', 'other_receipts') THEN -amount_minor ELSE 0 END) AS total "
        "FROM ledger_entry WHERE payment_id IS NOT NULL GROUP BY 1, 2) l USING (tenant_id, payment_id) "
        "WHERE p.amount_minor - p.returned_minor <> coalesce(l.total, 0)",
    ),
    Check(
        "ledger_is_balanced",
        "SELECT 'ledger entry ' || entry_id AS what FROM ledger_entry WHERE amount_minor <= 0 OR debit = credit",
    ),
    Check(
        "balances_are_the_sums",
        "SELECT 'account ' || b.account_id AS what FROM account_balance b LEFT JOIN (SELECT tenant_id, account_id, "
        "sum(open_minor) FILTER (WHERE kind <> 'credit_note') AS open, sum(open_minor) FILTER (WHERE kind = 'credit_note') AS credits "
        "FROM open_item GROUP BY 1, 2) i USING (tenant_id, account_id) LEFT JOIN (SELECT tenant_id, "
        "account_id, sum(unapplied_minor) AS unapplied "
        "FROM payment WHERE account_id IS NOT NULL GROUP BY 1, 2) p USING (tenant_id, account_id) WHERE "
        "b.open_minor <> coalesce(i.open, 0) "
        "OR b.unused_credits_minor <> coalesce(i.credits, 0) OR b.unapplied_minor <> coalesce(p.unapplied, 0)",
    ),
    Check(
        "write_offs_agree_with_items",
        "SELECT 'item ' || i.item_id AS what FROM open_item i LEFT JOIN (SELECT tenant_id, item_id, "
        "sum(amount_minor - reversed_minor) AS total "
        "FROM write_off WHERE status IN ('booked', 'reversed') GROUP BY 1, 2) w USING (tenant_id, item_id) "
        "WHERE i.written_off_minor <> coalesce(w.total, 0)",
    ),
    Check(
        "write_offs_are_reversed_by_what_settles",
        "SELECT 'payment ' || r.payment_id || ' item ' || r.item_id AS what FROM (SELECT tenant_id, payment_id, item_id, "
        "sum(amount_minor) AS total FROM write_off_reversal GROUP BY 1, 2, 3) r LEFT JOIN allocation a "
        "USING (tenant_id, payment_id, item_id) LEFT JOIN allocation_exchange x USING (tenant_id, payment_id, item_id) "
        "WHERE r.total > coalesce(x.item_amount_minor, a.amount_minor, 0) + coalesce(a.diff_minor, 0) UNION ALL "
        "SELECT 'write-off ' || r.write_off_id FROM (SELECT tenant_id, write_off_id, sum(amount_minor) AS total "
        "FROM write_off_reversal GROUP BY 1, 2) r LEFT JOIN write_off w USING (tenant_id, write_off_id) "
        "WHERE r.total > coalesce(w.reversed_minor, 0)",
    ),
    Check(
        "nettings_agree_with_items",
        "SELECT 'item ' || i.item_id AS what FROM open_item i LEFT JOIN (SELECT s.tenant_id, l.item_id, sum(l.amount_minor) AS total "
        "FROM settlement s CROSS JOIN LATERAL jsonb_to_recordset(s.lines) AS l(item_id uuid, amount_minor bigint) "
        "WHERE s.kind = 'netting' AND s.status = 'booked' GROUP BY 1, 2) n USING (tenant_id, item_id) "
        "WHERE i.set_off_minor <> coalesce(n.total, 0)",
    ),
    Check(
        "refunds_agree_with_payments",
        "SELECT 'payment ' || p.payment_id AS what FROM payment p LEFT JOIN (SELECT tenant_id, payment_id, "
        "sum(amount_minor) FILTER (WHERE status IN ('approved', 'sent', 'paid')) AS total, "
        "sum(amount_minor) FILTER (WHERE status IN ('approved', 'sent')) AS pending FROM refund GROUP BY 1, 2) r "
        "USING (tenant_id, payment_id) WHERE p.refunded_minor <> coalesce(r.total, 0) OR p.refund_pending_minor <> coalesce(r.pending, 0)",
    ),
    Check(
        "recalls_agree_with_payments",
        "SELECT 'payment ' || p.payment_id AS what FROM payment p JOIN (SELECT tenant_id, payment_id, sum(amount_minor) AS total "
        "FROM recall WHERE status IN ('open', 'requested', 'accepted') GROUP BY 1, 2) r USING (tenant_id, payment_id) "
        "WHERE r.total > p.returned_minor - p.withdrawn_minor",
    ),
    Check(
        "decisions_are_of_versions_that_were",
        "SELECT 'payment ' || d.payment_id || ' version ' || d.payment_version AS what FROM decision d LEFT JOIN payment p "
        "USING (tenant_id, payment_id) WHERE p.payment_id IS NULL OR d.payment_version > p.version",
    ),
    Check(
        "booked_statements_add_up",
        "SELECT 'statement ' || statement_id AS what FROM statement WHERE verdict = 'booked' AND role = 'statement' "
        "AND accepted_by IS NULL AND opening_minor + entries_minor <> closing_minor",
    ),
    Check(
        "reconciliation_stays_behind_the_bank",
        "SELECT 'bank account ' || r.bank_account_id AS what FROM reconciliation r WHERE r.matched_through > r.booked_through "
        "OR r.booked_through > (SELECT max(s.last_day) FROM statement s WHERE s.tenant_id = r.tenant_id "
        "AND s.bank_account_id = r.bank_account_id AND s.verdict = 'booked' AND s.role = 'statement')",
    ),
    Check(
        "no_message_is_put_aside",
        "SELECT 'dead letter ' || id || ' of ' || event AS what FROM dead_letter WHERE replayed_at IS NULL",
    ),
)
