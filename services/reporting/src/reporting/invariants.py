"""What always holds in reporting's database.

The first two compare rows that come from different topics: between two batches of those topics they may rightly differ, so
they are for a system at rest (after the demo, after a test); the others hold at every moment. All read the partial indexes of
open items and unapplied payments, but for `payments_are_conserved`, `items_add_up` and `open_means_open`, which read the
whole table once.
"""

from shared.invariants import Check

CHECKS = (
    Check(
        "at_rest_balances_equal_items",
        "SELECT format('customer %s owes entity %s %s %s by items, %s by balance', customer_id, entity_id, currency, i.open, b.open) "
        "AS what FROM (SELECT tenant_id, entity_id, customer_id, currency, sum(open_minor) FILTER (WHERE kind <> 'credit_note') AS open, "
        "sum(open_minor) FILTER (WHERE kind = 'credit_note') AS credits FROM open_item WHERE open_minor > 0 GROUP BY 1, 2, 3, 4) AS i "
        "FULL JOIN (SELECT tenant_id, entity_id, customer_id, currency, sum(open_minor) AS open, sum(unused_credits_minor) AS credits "
        "FROM account_balance GROUP BY 1, 2, 3, 4) AS b USING (tenant_id, entity_id, customer_id, currency) "
        "WHERE coalesce(i.open, 0) <> coalesce(b.open, 0) OR coalesce(i.credits, 0) <> coalesce(b.credits, 0)",
    ),
    Check(
        "at_rest_balances_equal_unapplied_payments",
        "SELECT format('customer %s has %s %s unapplied by payments, %s by balance', customer_id, currency, p.unapplied, b.unapplied) "
        "AS what "
        "FROM (SELECT tenant_id, entity_id, payer_customer_id AS customer_id, currency, sum(unapplied_minor) AS unapplied FROM payment "
        "WHERE unapplied_minor > 0 AND payer_customer_id IS NOT NULL GROUP BY 1, 2, 3, 4) AS p "
        "FULL JOIN (SELECT tenant_id, entity_id, customer_id, currency, sum(unapplied_minor) AS unapplied FROM account_balance "
        "GROUP BY 1, 2, 3, 4) AS b USING (tenant_id, entity_id, customer_id, currency) "
        "WHERE coalesce(p.unapplied, 0) <> coalesce(b.unapplied, 0)",
    ),
    Check(
        "ageing_is_all_that_is_open",
        "SELECT format('tenant %s, item %s: %s open, %s by instalment', i.tenant_id, i.item_id, i.open_minor, coalesce(p.open, 0)) AS what "
        "FROM open_item i CROSS JOIN LATERAL (SELECT sum(open_minor) AS open FROM jsonb_to_recordset(i.instalments) "
        "AS p(open_minor bigint)) AS p WHERE i.open_minor > 0 AND i.kind <> 'credit_note' AND i.open_minor <> coalesce(p.open, 0)",
    ),
    Check(
        "items_add_up",
        "SELECT format('item %s: %s is not %s open + %s settled', item_id, original_minor, open_minor, s.settled) AS what "
        "FROM open_item CROSS JOIN LATERAL (SELECT sum(value::bigint) AS settled FROM jsonb_each_text(settled)) AS s "
        "WHERE original_minor <> open_minor + s.settled",
    ),
    Check(
        "open_means_open",
        "SELECT format('item %s is %s with %s open, %s disputed', item_id, status, open_minor, disputed_minor) AS what FROM open_item "
        "WHERE (status = 'open') <> (open_minor > 0) OR disputed_minor > open_minor",
    ),
    Check(
        "payments_are_conserved",
        "SELECT format('payment %s: %s in, %s allocated', payment_id, amount_minor, a.allocated) AS what FROM payment CROSS JOIN LATERAL "
        "(SELECT coalesce(sum(amount_minor), 0) AS allocated FROM jsonb_to_recordset(allocations) AS x(amount_minor bigint)) AS a "
        "WHERE CASE WHEN further_allocations = 0 THEN amount_minor <> a.allocated + unapplied_minor + returned_minor + refunded_minor "
        "ELSE amount_minor <= a.allocated + unapplied_minor + returned_minor + refunded_minor END",
    ),
    Check(
        "measured_days_are_whole",
        "SELECT format('entity %s, day %s: %s rows of %s', m.entity_id, m.day, count(a.day), m.rows) AS what FROM measured_day m "
        "LEFT JOIN ageing_day a USING (tenant_id, entity_id, day) WHERE m.taken_at IS NOT NULL "
        "GROUP BY m.tenant_id, m.entity_id, m.day, m.rows HAVING count(a.day) <> m.rows",
    ),
    Check(
        "every_kept_state_came_in_an_event",
        "SELECT format('tenant %s: %s rows of %s and no event', tenant_id, count(*), kept) AS what FROM ("
        "SELECT tenant_id, 'open_item' AS kept, ARRAY['OpenItemChanged', 'InvoicePaid', 'InvoiceClosed', 'InvoiceReopened'] AS events "
        "FROM open_item UNION ALL SELECT tenant_id, 'payment', ARRAY['PaymentReceived', 'PaymentMatched', 'PaymentUnapplied', "
        "'PaymentUnmatched', 'PaymentReturned'] FROM payment UNION ALL SELECT tenant_id, 'invoice', ARRAY['InvoiceIssued', "
        "'InvoiceChanged', 'InvoiceCancelled', 'CreditNoteIssued'] FROM invoice) AS k GROUP BY tenant_id, kept, events "
        "HAVING count(*) > (SELECT count(*) FROM event_seen e WHERE e.tenant_id = k.tenant_id AND e.event = ANY(k.events))",
    ),
)
