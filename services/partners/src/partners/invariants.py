"""What always holds in partners' database."""

from shared.invariants import Check

CHECKS = (
    Check(
        "log_positions_have_no_gap",
        "SELECT format('tenant %s: %s entries up to %s of %s', h.tenant_id, count(l.position), max(l.position), h.position) AS what "
        "FROM log_head h LEFT JOIN event_log l ON l.tenant_id = h.tenant_id AND l.position IS NOT NULL GROUP BY h.tenant_id, h.position "
        "HAVING count(l.position) <> h.position OR coalesce(max(l.position), 0) <> h.position",
    ),
    Check(
        "deliveries_are_of_logged_events",
        "SELECT format('delivery %s', d.delivery_id) AS what FROM delivery d LEFT JOIN event_log l "
        "ON l.tenant_id = d.tenant_id AND l.event = d.event AND l.event_id = d.event_id WHERE l.position IS DISTINCT FROM d.position",
    ),
    Check(
        "finished_deliveries_say_how",
        "SELECT format('delivery %s', delivery_id) AS what FROM delivery "
        "WHERE (status = 'delivered' AND answered IS NULL) OR (status <> 'pending' AND finished_at IS NULL)",
    ),
    Check("no_private_event_in_the_log", "SELECT event AS what FROM event_log WHERE event = 'CustomerIdentityChanged'"),
)
