"""The toy as a service, and what always holds of it."""

from contracts.dunning import ReminderSent
from contracts.payments import PaymentReceived
from shared.invariants import Check
from shared.service import Service
from shared.settings import Settings

from toyservice import handlers
from toyservice.tables import METADATA

CHECKS = (
    Check(
        "totals_equal_payments",
        "SELECT a.account_id::text AS what FROM account a LEFT JOIN payment p USING (tenant_id, account_id) "
        "GROUP BY a.tenant_id, a.account_id, a.total_minor HAVING a.total_minor <> coalesce(sum(p.amount_minor), 0)",
    ),
    Check("one_effect_per_event", "SELECT event_id::text AS what FROM effect GROUP BY tenant_id, event_id HAVING count(*) > 1"),
    Check(
        "counters_equal_effects",
        "SELECT customer_id::text AS what FROM reminded FULL JOIN "
        "(SELECT tenant_id, customer_id, count(*) AS n FROM effect GROUP BY 1, 2) AS e USING (tenant_id, customer_id) "
        "WHERE times IS DISTINCT FROM n",
    ),
    Check(
        "inbox_equals_effects",
        "SELECT coalesce(i.event_id, e.event_id)::text AS what FROM (SELECT event_id FROM inbox WHERE event = 'ReminderSent') AS i "
        "FULL JOIN effect AS e USING (event_id) WHERE i.event_id IS NULL OR e.event_id IS NULL",
    ),
)
SERVICE = Service(
    name="toyservice",
    settings=Settings,
    metadata=METADATA,
    routes={PaymentReceived: handlers.sum_payments, ReminderSent: handlers.count_reminders},
    routers=(),
    checks=CHECKS,
)
