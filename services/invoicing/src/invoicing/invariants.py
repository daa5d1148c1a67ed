"""What always holds in the tables of invoicing: each query returns violations, one per row, in a column `what`.

Cost: a scan of `invoice` each, but for the balances, which join by primary key. CHECK constraints of `tables` hold the rest.
"""

from shared.invariants import Check

CHECKS = (
    Check(
        "instalments_add_up_to_payable",
        "SELECT 'invoice ' || invoice_id || ': instalments are not payable' AS what FROM invoice "
        "WHERE payable_minor <> coalesce((SELECT sum((each ->> 'amount_minor')::bigint) "
        "FROM jsonb_array_elements(instalments) AS each), 0)",
    ),
    Check(
        "payable_is_total_less_prepaid",
        "SELECT 'invoice ' || invoice_id || ': payable is not total - prepaid' AS what FROM invoice "
        "WHERE payable_minor <> total_minor - prepaid_minor",
    ),
    Check(
        "versions_are_drawn",
        "SELECT 'invoice ' || invoice_id || ' has version ' || version AS what FROM invoice WHERE version < 1 OR source_version < 1 "
        "UNION ALL SELECT 'customer ' || customer_id || ' has version ' || version FROM customer WHERE version < 1",
    ),
    Check(
        "made_references_are_unique",
        "SELECT 'entity ' || entity_id || ': reference ' || payment_reference || ' is on ' || count(*) || ' invoices' AS what "
        "FROM invoice WHERE reference_made AND payment_reference IS NOT NULL GROUP BY tenant_id, entity_id, payment_reference "
        "HAVING count(*) > 1",
    ),
    Check(
        "owed_invoices_have_a_reference",
        "SELECT 'invoice ' || invoice_id || ' has no payment reference' AS what FROM invoice "
        "WHERE payment_reference IS NULL AND kind <> 'credit_note' AND origin <> 'history'",
    ),
    Check(
        # an invoice may have been changed after the version that matching last told of: only amounts at rest are compared
        "open_is_within_original",
        "SELECT 'invoice ' || invoice_id || ': ' || open_minor || ' open of ' || original_minor AS what FROM invoice_balance "
        "WHERE open_minor > original_minor OR disputed_minor > open_minor",
    ),
    Check(
        "opening_is_within_payable",
        "SELECT 'invoice ' || invoice_id || ': opening amount' AS what FROM invoice WHERE (origin = 'opening') <> "
        "(details ? 'opening_open_minor') OR (details ->> 'opening_open_minor')::bigint > payable_minor",
    ),
    Check(
        "invoices_bill_a_known_customer_of_a_known_entity",
        "SELECT 'invoice ' || i.invoice_id || ': customer or entity is missing' AS what FROM invoice i "
        "LEFT JOIN customer c ON c.tenant_id = i.tenant_id AND c.customer_id = i.customer_id "
        "LEFT JOIN legal_entity e ON e.tenant_id = i.tenant_id AND e.entity_id = i.entity_id "
        "WHERE c.customer_id IS NULL OR e.entity_id IS NULL",
    ),
    Check(
        "control_sums_of_imports_add_up",
        "SELECT 'import ' || r.import_id || ': control sums in ' || s.key AS what FROM import_run r CROSS JOIN jsonb_each(r.sums) s "
        "WHERE (s.value ->> 'received')::numeric <> (s.value ->> 'accepted')::numeric + (s.value ->> 'rejected')::numeric "
        "+ (s.value ->> 'duplicate')::numeric",
    ),
)
