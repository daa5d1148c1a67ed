"""What always holds in dunning's database, as queries over all tenants that find violations.

Cheap enough for production: each walks one table along its key or a named index.
"""

from shared.invariants import Check

_LINES = "decision d CROSS JOIN LATERAL jsonb_array_elements(d.asked) AS line"

CHECKS = (
    # level_reached's primary key keeps it for its own rows; this one looks at what left (dispatch_state, decision_reminder)
    Check(
        "each_level_is_sent_once",
        "SELECT line->>'item_id' || ' level ' || (line->>'level') || ' was sent ' || count(*) || ' times' AS what "  # noqa: S608 - our own text
        f"FROM {_LINES} JOIN dispatch p USING (tenant_id, reminder_id) WHERE p.state = 'sent' "
        "GROUP BY d.tenant_id, line->>'item_id', line->>'instalment', line->>'level' HAVING count(*) > 1",
    ),
    Check(
        "what_was_sent_took_its_levels",
        "SELECT d.reminder_id || ' took no level for ' || (line->>'item_id') AS what "  # noqa: S608 - our own text
        f"FROM {_LINES} JOIN dispatch p USING (tenant_id, reminder_id) LEFT JOIN level_reached l ON (l.tenant_id, l.item_id, l.instalment, "
        "l.level) = (d.tenant_id, (line->>'item_id')::uuid, (line->>'instalment')::int, (line->>'level')::int) "
        "AND l.reminder_id = d.reminder_id WHERE p.state IN ('planned', 'sending', 'sent', 'in_doubt') AND l.reminder_id IS NULL",
    ),
    Check(
        "nothing_paid_is_asked_for",
        "SELECT d.reminder_id || ' asks more than is open of ' || (line->>'item_id') AS what "  # noqa: S608 - our own text
        f"FROM {_LINES} WHERE d.outcome = 'send' AND ((line->>'asked_minor')::bigint > (line->>'open_minor')::bigint "
        "OR (line->>'asked_minor')::bigint <= 0)",
    ),
    Check(
        "nothing_disputed_or_promised_is_asked_for",
        "SELECT d.reminder_id || ' asks for what is disputed or promised' AS what FROM decision d CROSS JOIN LATERAL ("
        "SELECT coalesce(sum((l->>'asked_minor')::bigint), 0) AS asked FROM jsonb_array_elements(d.asked) l) a CROSS JOIN LATERAL ("
        "SELECT coalesce(sum((l->>'open_minor')::bigint), 0) AS due FROM jsonb_array_elements(d.inputs->'lines') l) o CROSS JOIN LATERAL ("
        "SELECT coalesce(sum((p->>'missing_minor')::bigint) FILTER (WHERE jsonb_array_length(p->'item_ids') = 0), 0) AS promised "
        "FROM jsonb_array_elements(d.inputs->'promises') p) q "
        "WHERE d.outcome = 'send' AND a.asked > 0 AND (a.asked + q.promised > o.due OR EXISTS (SELECT 1 FROM ("
        "SELECT l->>'item_id' AS item, sum((l->>'asked_minor')::bigint) AS asked FROM jsonb_array_elements(d.asked) l GROUP BY 1) i WHERE "
        "i.asked + coalesce((d.inputs->'contested_minor'->>i.item)::bigint, 0) > (SELECT sum((l->>'open_minor')::bigint) "
        "FROM jsonb_array_elements(d.inputs->'lines') l WHERE l->>'item_id' = i.item)))",
    ),
    Check(
        "nothing_in_a_plan_that_is_kept_is_asked_for",
        "SELECT d.reminder_id || ' asks for what a payment plan covers of ' || (p->>'item_id') AS what FROM decision d "
        "CROSS JOIN LATERAL jsonb_array_elements(d.inputs->'plans') p CROSS JOIN LATERAL ("
        "SELECT coalesce(sum((l->>'asked_minor')::bigint), 0) AS asked FROM jsonb_array_elements(d.asked) l "
        "WHERE l->>'item_id' = p->>'item_id') a CROSS JOIN LATERAL (SELECT coalesce(sum((l->>'open_minor')::bigint), 0) AS due "
        "FROM jsonb_array_elements(d.inputs->'lines') l WHERE l->>'item_id' = p->>'item_id') o "
        "WHERE d.outcome = 'send' AND a.asked > 0 AND a.asked + (p->>'unpaid_minor')::bigint > o.due",
    ),
    Check(
        "nobody_is_reminded_while_a_payment_is_in_review",
        "SELECT reminder_id || ' was sent beside a payment in review' AS what FROM decision "
        "WHERE outcome = 'send' AND jsonb_array_length(inputs->'in_review') > 0",
    ),
    Check(
        "no_decision_without_an_open_gate",
        "SELECT reminder_id || ' relied on ' || as_of || ' while the gate stood at ' || gate_through AS what FROM decision "
        "WHERE as_of > gate_through",
    ),
    # dispatch_state
    Check(
        "nothing_hangs_in_sending",
        "SELECT reminder_id || ' has been sending since ' || claimed_at AS what FROM dispatch "
        "WHERE state = 'sending' AND claimed_at < now() - interval '10 minutes'",
    ),
    Check(
        "what_was_sent_was_decided",
        "SELECT p.reminder_id || ' left without a decision to send it' AS what FROM dispatch p LEFT JOIN decision d "
        "USING (tenant_id, reminder_id) WHERE p.state IN ('sent', 'sending', 'in_doubt') AND d.outcome IS DISTINCT FROM 'send'",
    ),
    # the outbox forgets what the broker has taken, so the mark of publishing is kept beside the mail
    Check(
        "what_was_sent_was_told_once",
        "SELECT reminder_id || ' is ' || state || ' and its ReminderSent was published ' || told || ' times' AS what FROM dispatch "
        "WHERE told <> CASE WHEN state = 'sent' THEN 1 ELSE 0 END",
    ),
    Check(
        "a_broken_promise_passed_the_gate",
        "SELECT promise_id || ' was broken before the bank had spoken for its day' AS what FROM promise "
        "WHERE status = 'broken' AND coalesce((decision->>'gate')::date < due_on, true)",
    ),
    Check(
        "a_broken_plan_passed_the_gate",
        "SELECT payment_plan_id || ' was broken before the bank had spoken for its instalment ' || broken_instalment AS what "
        "FROM payment_plan WHERE status = 'broken' AND coalesce((decision->>'gate')::date < "
        "(instalments->(broken_instalment - 1)->>'due_on')::date + grace_days, true)",
    ),
    Check(
        "what_is_left_of_a_plan_adds_up",
        "SELECT payment_plan_id || ' has other sums of its items than of its instalments' AS what FROM payment_plan p "
        "CROSS JOIN LATERAL (SELECT sum((i->>'amount_minor')::bigint) AS amount, sum((i->>'left_minor')::bigint) AS rest "
        "FROM jsonb_array_elements(p.items) i) a "
        "CROSS JOIN LATERAL (SELECT sum((i->>'amount_minor')::bigint) AS amount, sum((i->>'open_minor')::bigint) AS rest "
        "FROM jsonb_array_elements(p.instalments) i) b WHERE (a.amount, a.rest) IS DISTINCT FROM (b.amount, b.rest)",
    ),
)
