"""What always holds in scoring's database, as queries that find violations.

Cost: `behaviour_is_the_sum` and `checks_within_limit` read their tables once (contributions by index contribution_bucket);
the others read one row per customer. None takes a lock.
"""

from shared.invariants import Check

from scoring.domain.behaviour import MEASURES

_SUMS = ", ".join(f"sum({name}) AS {name}" for name in MEASURES)
_DIFFER = " OR ".join(f"coalesce(b.{name}, 0) <> coalesce(c.{name}, 0)" for name in MEASURES)

CHECKS = (
    Check(
        "behaviour_is_the_sum_of_contributions",
        "SELECT 'customer ' || customer_id || ' month ' || month AS what FROM behaviour b "  # noqa: S608 - column names are ours
        f"FULL JOIN (SELECT tenant_id, customer_id, currency, month, {_SUMS} FROM contribution WHERE month IS NOT NULL "
        "GROUP BY 1, 2, 3, 4) c USING (tenant_id, customer_id, currency, month) "
        f"WHERE {_DIFFER}",
    ),
    Check(
        "what_is_published_was_decided",
        "SELECT 'customer ' || p.customer_id || ': no decision behind its ' || p.kind AS what FROM ("
        "SELECT tenant_id, customer_id, decision_id, version, 'score' AS kind FROM score UNION ALL "
        "SELECT tenant_id, customer_id, decision_id, version, 'terms' FROM terms UNION ALL "
        "SELECT tenant_id, customer_id, decision_id, version, 'hold' FROM hold) p "
        "LEFT JOIN decision d ON d.tenant_id = p.tenant_id AND d.decision_id = p.decision_id AND d.customer_id = p.customer_id "
        "WHERE d.decision_id IS NULL OR p.version < 1",
    ),
    Check(
        "scores_are_as_decided",
        "SELECT 'customer ' || s.customer_id AS what FROM score s JOIN decision d USING (tenant_id, decision_id) "
        "WHERE (d.outcome #>> '{assessment,score}')::int <> s.score OR d.outcome #>> '{assessment,band}' <> s.band",
    ),
    Check(
        "terms_are_as_decided",
        "SELECT 'customer ' || t.customer_id AS what FROM terms t JOIN decision d USING (tenant_id, decision_id) "
        "WHERE (d.outcome #>> '{terms,limit_minor}')::bigint <> t.limit_minor OR d.outcome #>> '{terms,currency}' <> t.currency",
    ),
    Check(
        "holds_are_as_decided",
        "SELECT 'customer ' || h.customer_id AS what FROM hold h JOIN decision d USING (tenant_id, decision_id) "
        "WHERE h.active <> CASE d.kind WHEN 'hold' THEN (d.outcome ->> 'held')::boolean ELSE d.outcome ->> 'hold_action' = 'place' END",
    ),
    Check(
        "at_most_one_active_hold",
        "SELECT 'customer ' || customer_id AS what FROM hold WHERE active GROUP BY tenant_id, customer_id HAVING count(*) > 1",
    ),
    Check(
        "approved_checks_within_limit",
        "SELECT 'credit check ' || credit_check_id AS what FROM credit_check WHERE decision = 'approved' "
        "AND exposure_minor + reserved_minor + amount_minor > limit_minor",
    ),
    Check(
        "reserved_exposure_not_negative",
        "SELECT 'credit check ' || credit_check_id AS what FROM credit_check WHERE reserved_minor < 0 OR amount_minor <= 0",
    ),
    Check(
        "reservations_end_once_invoiced",
        "SELECT 'credit check ' || c.credit_check_id AS what FROM credit_check c JOIN invoice i "
        "ON i.tenant_id = c.tenant_id AND i.credit_check_id = c.credit_check_id AND i.customer_id = c.customer_id "
        "JOIN open_item o ON o.tenant_id = i.tenant_id AND o.item_id = i.invoice_id WHERE c.invoice_id IS NULL",
    ),
)
