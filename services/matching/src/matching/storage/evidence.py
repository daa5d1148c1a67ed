"""What else a batch of payments points to, for the engine, without locks: who may have paid, what they owe, what earlier payments tell.

Two statements over the whole batch, each by index: a payment that comes alone pays every round trip itself. Every query leads
with the tenant and stays within the payment's legal entity. What is asked of many payments comes back by the payment's place in
the batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from operator import attrgetter
from typing import Any
from uuid import UUID

from shared.aliases import survivor
from shared.db import records
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.engine.search import SHARED_MAX
from matching.storage.candidates import Waiting
from matching.storage.decisions import SAYS_WHO_PAID
from matching.storage.rows import columns, keys, literal, texts

OWN, ALIAS_IBAN, ALIAS_NAME, PAST, NUMBER, NAME = "own", "alias_iban", "alias_name", "past", "number", "name"
OWNER, FORMER, SAID, DOCUMENT, PRICE, PERSON, POLICY, MODEL, DISMISSED = (
    "owner", "former", "said", "document", "price", "person", "policy", "model", "dismissed"
)  # fmt: skip
PAST_MAX = 50
"""Payments from one IBAN, the last, by which it is known whose it is."""
NAMES_MAX = 40
"""Customers whose name begins alike, of each form."""
SAME_VALUE_MAX = 20
"""Items that carry one document number."""
PRICE_MAX = 61
"""Items of one amount, one more than the engine takes for a sign."""
CHILDREN_MAX = 40
ITEMS_MAX = 400
"""Open items of one customer that are looked at, those due first."""
SETTLED_MAX = 40
"""Items of one customer settled last that a text may name again."""
PROMISES_MAX = 3
"""Open promises of one customer that are looked at, those due first."""
HISTORY_MAX = 24
"""Payments of one customer that tell of its habits."""
CHARGES_MAX = 500
RATES_MAX = 500
RATES_DAYS = 120
"""How long ago payments in another currency still tell of its rate, of so many that are looked at."""


@dataclass(slots=True)
class Person:
    """A customer as it is kept: number, name, and who may pay for it."""

    customer_id: UUID
    number: str
    name: str
    parent: UUID | None


# Values that payments say, in text that the server splits: the driver looks at each element of an array three times
_SAID = (
    "unnest(CAST(CAST(:{0}_places AS text) AS int[]), string_to_array(CAST(:{0}_values AS text), chr(30))) AS t(place, value) "
    "WHERE value IS NOT NULL"
)
_OF_PLACE = "(CAST(:{} AS uuid[]))[place + 1]"
_KNOWN = (
    f"SELECT k.place, k.tenant_id, CASE v.status WHEN 'assigned' THEN '{OWNER}' ELSE '{FORMER}' END AS how, "  # noqa: S608 - our own text
    f"coalesce({survivor('k.tenant_id', 'v.customer_id')}, "
    "(SELECT n.customer_id FROM open_item n WHERE n.tenant_id = k.tenant_id AND n.item_id = v.invoice_id), (SELECT n.customer_id "
    "FROM payment_instruction n WHERE n.tenant_id = k.tenant_id AND n.virtual_iban_id = k.virtual_iban_id)) AS customer_id, v.iban "
    "FROM k CROSS JOIN LATERAL (SELECT * FROM virtual_iban WHERE tenant_id = k.tenant_id AND virtual_iban_id = k.virtual_iban_id "
    f"AND status <> 'pool' OFFSET 0) v UNION ALL SELECT place, tenant_id, '{SAID}', {survivor('k.tenant_id', 'k.said')}, NULL FROM k "
    # whom rules have taken for the payer, they find again by what told them
    "WHERE said IS NOT NULL AND EXISTS (SELECT 1 FROM decision d WHERE d.tenant_id = k.tenant_id AND d.payment_id = k.payment_id "
    f"AND ({SAYS_WHO_PAID}))"
)
_UNKNOWN = "SELECT place, tenant_id, NULL AS how, said AS customer_id, NULL AS iban FROM k WHERE false"
"""Instead of `_KNOWN` where no payment came to a virtual IBAN and nobody said who paid: a part that finds nothing costs, too."""
_WHO = (
    "WITH k AS (SELECT * FROM unnest(CAST(:places AS int[]), CAST(:tenants AS uuid[]), CAST(:entities AS uuid[]), "  # noqa: S608 - our own text
    "CAST(:currencies AS text[]), CAST(:amounts AS bigint[]), CAST(:ibans AS text[]), CAST(:payers AS text[]), CAST(:virtuals AS uuid[]), "
    "CAST(:said AS uuid[]), CAST(:payments AS uuid[])) "
    "AS t(place, tenant_id, entity_id, currency, amount, iban, payer, virtual_iban_id, said, payment_id)), "
    "known AS MATERIALIZED ({known}), "
    f"n AS (SELECT place, {_OF_PLACE.format('tenants')} AS tenant_id, value FROM {_SAID.format('n')}), "
    f'w AS (SELECT place, {_OF_PLACE.format("tenants")} AS tenant_id, value COLLATE "C" AS value FROM {_SAID.format("w")}), signs AS ('
    f"SELECT k.place, k.tenant_id, '{OWN}' AS how, o.customer_id, 1 AS times FROM k CROSS JOIN LATERAL ("
    "SELECT customer_id FROM payer_iban WHERE tenant_id = k.tenant_id AND iban = k.iban OFFSET 0) o UNION ALL "
    f"SELECT k.place, k.tenant_id, '{ALIAS_IBAN}', a.customer_id, a.times FROM k CROSS JOIN LATERAL (SELECT customer_id, times "
    "FROM payer_alias WHERE tenant_id = k.tenant_id AND kind = 'iban' AND value = k.iban OFFSET 0) a UNION ALL "
    f"SELECT k.place, k.tenant_id, '{ALIAS_NAME}', a.customer_id, a.times FROM k CROSS JOIN LATERAL (SELECT customer_id, times "
    "FROM payer_alias WHERE tenant_id = k.tenant_id AND kind = 'name' "
    "AND value = upper(regexp_replace(btrim(k.payer), '\\s+', ' ', 'g')) OFFSET 0) a "
    f"UNION ALL SELECT k.place, k.tenant_id, '{PAST}', a.payer_customer_id, count(*) FROM k CROSS JOIN LATERAL ("
    # the payer is asked for afterwards: the index of those that have one, the tenant's all, is as good to a planner who has seen none
    "SELECT payer_customer_id FROM (SELECT payer_customer_id FROM payment WHERE tenant_id = k.tenant_id AND debtor_iban = k.iban "
    "AND status = 'matched' ORDER BY booking_date DESC OFFSET 0) p WHERE payer_customer_id IS NOT NULL "
    f"LIMIT {PAST_MAX}) a GROUP BY 1, 2, 4 UNION ALL "
    f"SELECT n.place, n.tenant_id, '{NUMBER}', c.customer_id, 1 FROM n CROSS JOIN LATERAL (SELECT customer_id FROM customer "
    "WHERE tenant_id = n.tenant_id AND number_key = n.value LIMIT 5) c UNION ALL "
    f"SELECT w.place, w.tenant_id, '{NAME}', c.customer_id, 1 FROM w CROSS JOIN LATERAL ("
    "(SELECT b.customer_id FROM generate_series(7, length(w.value)) AS g(length) CROSS JOIN LATERAL (SELECT customer_id "
    "FROM customer_name WHERE tenant_id = w.tenant_id AND value = left(w.value, g.length) OFFSET 0) b "
    f"LIMIT {NAMES_MAX}) UNION ALL "
    "(SELECT customer_id FROM customer_name WHERE tenant_id = w.tenant_id AND value >= w.value AND value < w.value || '~' "
    f"LIMIT {NAMES_MAX}) UNION ALL (SELECT customer_id FROM customer_name WHERE tenant_id = w.tenant_id AND value >= left(w.value, 7) "
    f"AND value < left(w.value, 7) || '~' LIMIT {NAMES_MAX})) c), "
    f"found AS MATERIALIZED (SELECT place, tenant_id, how, {survivor('f.tenant_id', 'f.customer_id')} AS customer_id, "
    "CAST(sum(times) AS int) AS times FROM (SELECT DISTINCT place, tenant_id, how, customer_id, times FROM signs) f GROUP BY 1, 2, 3, 4), "
    "documents AS MATERIALIZED (SELECT p.place, p.tenant_id, i.item_id, i.customer_id, i.open_minor > 0 AS open, p.value FROM ("
    f"SELECT place, {_OF_PLACE.format('tenants')} AS tenant_id, {_OF_PLACE.format('entities')} AS entity_id, value "
    f"FROM {_SAID.format('d')} OFFSET 0) p "
    "CROSS JOIN LATERAL (SELECT item_id FROM item_reference WHERE tenant_id = p.tenant_id AND entity_id = p.entity_id AND value = p.value "
    f"LIMIT {SAME_VALUE_MAX}) r CROSS JOIN LATERAL (SELECT item_id, customer_id, open_minor FROM open_item WHERE tenant_id = p.tenant_id "
    "AND item_id = r.item_id OFFSET 0) i), "
    "priced AS MATERIALIZED (SELECT k.place, k.tenant_id, i.item_id, i.customer_id FROM k CROSS JOIN LATERAL ("
    "SELECT item_id, customer_id FROM open_item i WHERE i.tenant_id = k.tenant_id AND i.entity_id = k.entity_id "
    "AND i.open_minor = k.amount AND i.status = 'open' AND i.currency = k.currency AND i.kind <> 'credit_note' "
    f"LIMIT {PRICE_MAX}) i WHERE k.place NOT IN (SELECT place FROM found WHERE how = '{OWN}' "
    f"UNION ALL SELECT place FROM known WHERE customer_id IS NOT NULL AND how <> '{FORMER}')), "
    "pointed AS (SELECT tenant_id, customer_id FROM known WHERE customer_id IS NOT NULL UNION SELECT tenant_id, customer_id FROM ("
    "SELECT tenant_id, how, customer_id, count(*) OVER (PARTITION BY place, how) AS alike "
    f"FROM found) a WHERE alike <= {SHARED_MAX} OR how = '{NAME}' UNION SELECT tenant_id, customer_id FROM documents "
    "UNION SELECT tenant_id, customer_id FROM priced), "
    "people AS (SELECT * FROM pointed UNION SELECT k.tenant_id, c.customer_id FROM pointed k CROSS JOIN LATERAL ("
    f"SELECT customer_id FROM customer WHERE tenant_id = k.tenant_id AND parent_customer_id = k.customer_id LIMIT {CHILDREN_MAX}) c) "
    "SELECT how, place, tenant_id, customer_id, CAST(NULL AS uuid), ROW(times) FROM found UNION ALL "
    "SELECT how, place, tenant_id, customer_id, NULL, ROW(iban) FROM known WHERE customer_id IS NOT NULL UNION ALL "
    f"SELECT '{DOCUMENT}', place, tenant_id, customer_id, item_id, ROW(open, value) FROM documents UNION ALL "
    f"SELECT '{PRICE}', place, tenant_id, customer_id, item_id, NULL FROM priced UNION ALL "
    f"SELECT '{POLICY}', NULL, tenant_id, NULL, NULL, ROW(threshold) FROM matching_policy WHERE tenant_id IN (SELECT tenant_id FROM k) "
    f"UNION ALL SELECT '{MODEL}', NULL, tenant_id, NULL, NULL, ROW(name) FROM matching_model WHERE in_force "
    "AND tenant_id IN (SELECT tenant_id FROM k) "
    f"UNION ALL SELECT '{DISMISSED}', k.place, k.tenant_id, NULL, d.item_id, NULL FROM k CROSS JOIN LATERAL (SELECT item_id "
    "FROM dismissed_pair WHERE tenant_id = k.tenant_id AND payment_id = k.payment_id OFFSET 0) d UNION ALL "
    f"SELECT '{PERSON}', NULL, f.tenant_id, f.customer_id, NULL, ROW(coalesce(c.customer_number, ''), coalesce(n.name, ''), "
    f"{survivor('f.tenant_id', 'c.parent_customer_id')}) FROM people f "
    "LEFT JOIN customer c ON c.tenant_id = f.tenant_id AND c.customer_id = f.customer_id "
    "LEFT JOIN customer_identity n ON n.tenant_id = f.tenant_id AND n.customer_id = f.customer_id ORDER BY 1, 2, 3, 5, 4"
)


@dataclass(slots=True)
class Pointed:
    """What one payment points to.

    `owner` is whose virtual IBAN, `virtual_iban`, it was paid to, `former` whose it was if it is nobody's now, `payer` who it is said to be
    from. `known` says how customers are known, and how often; `documents` are the items that carry one of its values, `found` these
    values, `open` whether one has something open, and `priced` the open items of exactly its amount, where nothing says who paid; items
    each with its customer. `dismissed` are items that a person has said it is not for.
    """

    owner: UUID | None = None
    former: UUID | None = None
    virtual_iban: str | None = None
    payer: UUID | None = None
    known: dict[str, dict[UUID, int]] = field(default_factory=dict)
    documents: dict[UUID, UUID] = field(default_factory=dict)
    open: bool = False
    found: set[str] = field(default_factory=set)
    priced: dict[UUID, UUID] = field(default_factory=dict)
    dismissed: set[UUID] = field(default_factory=set)

    def note(self, how: str, customer: UUID, item: UUID, more: tuple[Any, ...]) -> None:
        """Takes in one row of what points somewhere."""
        if how == DOCUMENT:
            self.documents[item] = customer
            self.open |= more[0]
            self.found.add(more[1])
        elif how == PRICE:
            self.priced[item] = customer
        elif how == DISMISSED:
            self.dismissed.add(item)
        elif how == OWNER:
            self.owner, self.virtual_iban = customer, more[0]
        elif how == FORMER:
            self.former, self.virtual_iban = customer, more[0]
        elif how == SAID:
            self.payer = customer
        else:
            self.known.setdefault(how, {})[customer] = more[0]


@dataclass(slots=True)
class Who:
    """What payments point to, in the order asked; all these customers, and those of whom they are the parents: whoever is unknown has no
    name; and the tenants' own thresholds and models, by name.
    """

    pointed: list[Pointed]
    people: dict[Key, Person] = field(default_factory=dict)
    thresholds: dict[UUID, float] = field(default_factory=dict)
    models: dict[UUID, str] = field(default_factory=dict)


async def who(
    conn: AsyncConnection,
    asked: Sequence[Waiting],
    numbers: Sequence[tuple[int, str]],
    names: Sequence[tuple[int, str]],
    values: Sequence[tuple[int, str]],
) -> Who:
    """Who may have paid, and for what.

    `numbers` are words that may be customers' numbers, `names` the written names' forms, `values` what may name items, each folded and with
    its payment's place in `asked`. A customer is found by name where his begins as the written one does, is its
    beginning, or begins with the same seven letters. What came from an account or under a name that many have brings none of them.
    """
    known = any(one.virtual_iban_id or one.payer for one in asked)
    rows = await records(
        conn,
        _WHO.format(known=_KNOWN if known else _UNKNOWN),
        places=list(range(len(asked))),
        tenants=[one.tenant_id for one in asked],
        entities=[one.entity_id for one in asked],
        currencies=[one.currency for one in asked],
        amounts=[one.unapplied_minor for one in asked],
        ibans=[one.debtor_iban for one in asked],
        payers=[one.ultimate_debtor_name or one.debtor_name for one in asked],
        virtuals=[one.virtual_iban_id for one in asked],
        said=[one.payer for one in asked],
        payments=[one.payment_id for one in asked],
        **_said("n", numbers),
        **_said("w", names),
        **_said("d", values),
    )
    found = Who([Pointed() for _ in asked])
    for how, place, tenant, customer, item, more in rows:
        if how == PERSON:
            found.people[tenant, customer] = Person(customer, *more)
        elif how == POLICY:
            found.thresholds[tenant] = more[0]
        elif how == MODEL:
            found.models[tenant] = more[0]
        else:
            found.pointed[place].note(how, customer, item, more)
    return found


def _said(prefix: str, rows: Sequence[tuple[int, str]]) -> dict[str, str]:
    return {f"{prefix}_places": literal([place for place, _ in rows]), f"{prefix}_values": texts(value for _, value in rows)}


Debtor = tuple[UUID, UUID, UUID]
"""Tenant, entity and customer."""


@dataclass(slots=True)
class Seen:
    """An item as it was when it was looked at, as the driver gives it fastest.

    `names` are what else names it, `kind:value`, `discounts` until when how many hundredths of a percent, `day:number`; each with
    spaces between.
    """

    tenant_id: UUID
    customer_id: UUID
    item_id: UUID
    version: int
    account_id: UUID
    kind: str
    number: str
    currency: str
    issue_date: date
    due_date: date
    original_minor: int
    open_minor: int
    contested_minor: int
    written_off_minor: int
    names: str | None
    discounts: str | None


_SEEN = (
    "i.entity_id, i.tenant_id, i.customer_id, i.item_id, i.version, i.account_id, i.kind, i.invoice_number, i.currency, i.issue_date, "
    "i.due_date, i.original_minor, i.open_minor, i.contested_minor, i.written_off_minor"
)


Rates = dict[tuple[UUID, str], dict[str, tuple[float, float, int]]]
"""What items' currencies cost, by tenant and currency of the payment: lowest, highest, how often (minor units)."""


@dataclass(slots=True)
class Experience:
    """What earlier payments tell.

    `history`: customers' last settled payments, the oldest first, without those that are being decided on: amount, booking date,
    items, invoices, first and last due date, rule, whether a discount was taken, and offered. `charges`: which bank charges were
    seen how often, per tenant, in a sample of CHARGES_MAX: payments' ids are random. `promises`: what debtors have promised: id, currency,
    amount, day, items, and what has come from them since and waits, but for what is being decided on.
    """

    history: dict[Key, list[tuple[Any, ...]]] = field(default_factory=dict)
    charges: dict[UUID, dict[int, int]] = field(default_factory=dict)
    promises: dict[Debtor, list[tuple[Any, ...]]] = field(default_factory=dict)


_NOT_SEEN = "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
_OWED = (
    "WITH k AS (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:entities AS uuid[]), CAST(:customers AS uuid[]), "  # noqa: S608 - our own text
    "CAST(:worded AS bool[])) AS t(tenant_id, entity_id, customer_id, worded)), "
    "t AS (SELECT DISTINCT tenant_id FROM k) "
    "SELECT 'item', s.entity_id, s.tenant_id, s.customer_id, s.item_id, s.version, s.account_id, s.kind, s.invoice_number, s.currency, "
    "s.issue_date, s.due_date, s.original_minor, s.open_minor, s.contested_minor, s.written_off_minor, CASE WHEN s.worded THEN ("
    "SELECT string_agg(kind || ':' || value, ' ') "
    "FROM item_reference WHERE tenant_id = s.tenant_id AND item_id = s.item_id AND kind <> 'folded') END, "
    "CASE WHEN EXISTS (SELECT 1 FROM t JOIN item_discount d ON d.tenant_id = t.tenant_id) THEN (SELECT string_agg("
    "to_char(until, 'YYYY-MM-DD:') || percent_bp, ' ') FROM item_discount WHERE tenant_id = s.tenant_id AND item_id = s.item_id) END, NULL "
    f"FROM (SELECT k.worded, i.* FROM k CROSS JOIN LATERAL (SELECT {_SEEN} FROM open_item i "
    "WHERE i.tenant_id = k.tenant_id AND i.customer_id = k.customer_id AND i.status = 'open' AND i.entity_id = k.entity_id "
    f"ORDER BY i.due_date LIMIT {ITEMS_MAX + 1}) i UNION ALL SELECT k.worded, i.* FROM k CROSS JOIN LATERAL (SELECT {_SEEN} "
    "FROM open_item i WHERE i.tenant_id = k.tenant_id AND i.customer_id = k.customer_id AND i.status = 'paid' "
    f"AND i.entity_id = k.entity_id ORDER BY i.due_date DESC LIMIT {SETTLED_MAX}) i UNION ALL "
    f"SELECT true, {_SEEN} FROM unnest(CAST(:i_tenants AS uuid[]), CAST(:i_ids AS uuid[])) AS a(tenant_id, item_id) "
    "CROSS JOIN LATERAL (SELECT * FROM open_item WHERE tenant_id = a.tenant_id AND item_id = a.item_id OFFSET 0) i) s UNION ALL "
    f"SELECT 'history', NULL, h.tenant_id, h.customer_id, {_NOT_SEEN}, NULL, h.row FROM (SELECT k.tenant_id, k.customer_id, "
    "ROW(p.amount_minor, p.booking_date, CAST(a.lines AS int), CAST(a.lines AS int), a.first_due, "
    "a.last_due, p.rule, a.discounted, a.offered) AS row FROM (SELECT DISTINCT tenant_id, customer_id FROM k) k "
    "CROSS JOIN LATERAL (SELECT tenant_id, payment_id, amount_minor, booking_date, rule FROM payment p WHERE p.tenant_id = k.tenant_id "
    "AND p.payer_customer_id = k.customer_id AND p.status = 'matched' AND NOT p.payment_id = ANY(CAST(:payments AS uuid[])) "
    f"ORDER BY p.booking_date DESC, p.payment_id LIMIT {HISTORY_MAX}) p CROSS JOIN LATERAL (SELECT count(*) AS lines, "
    "min(i.due_date) AS first_due, max(i.due_date) AS last_due, coalesce(bool_or(x.diff_reason = 'discount'), false) AS discounted, "
    "coalesce(bool_or(EXISTS (SELECT 1 FROM item_discount d WHERE d.tenant_id = x.tenant_id AND d.item_id = x.item_id)), false) "
    "AS offered "
    "FROM allocation x JOIN open_item i ON i.tenant_id = x.tenant_id AND i.item_id = x.item_id "
    "WHERE x.tenant_id = p.tenant_id AND x.payment_id = p.payment_id) a ORDER BY 1, 2, p.booking_date, p.payment_id) h UNION ALL "
    f"SELECT 'charge', NULL, c.tenant_id, NULL, {_NOT_SEEN}, NULL, ROW(c.diff_minor, c.times) "
    "FROM (SELECT t.tenant_id, c.diff_minor, CAST(count(*) AS int) AS times "
    "FROM t CROSS JOIN LATERAL (SELECT diff_minor FROM allocation WHERE tenant_id = t.tenant_id AND diff_reason = 'bank_charges' "
    f"ORDER BY payment_id LIMIT {CHARGES_MAX}) c GROUP BY 1, 2 ORDER BY 1, 2) c UNION ALL "
    f"SELECT 'promise', k.entity_id, k.tenant_id, k.customer_id, {_NOT_SEEN}, NULL, ROW(e.expected_id, e.currency, e.amount_minor, "
    "e.expected_on, ARRAY(SELECT CAST(l ->> 'item_id' AS uuid) FROM jsonb_array_elements(e.lines) l), (SELECT CAST(coalesce("
    "sum(unapplied_minor), 0) AS bigint) FROM payment p WHERE p.tenant_id = k.tenant_id AND p.payer_customer_id = k.customer_id "
    "AND p.booking_date >= CAST(e.created_at AS date) AND p.status IN ('unapplied', 'partly_matched') AND p.entity_id = k.entity_id "
    "AND p.currency = e.currency AND NOT p.payment_id = ANY(CAST(:payments AS uuid[])))) "
    "FROM k CROSS JOIN LATERAL (SELECT * FROM expected_payment WHERE tenant_id = k.tenant_id AND payer_customer_id = ANY(ARRAY("
    "SELECT k.customer_id UNION SELECT id FROM alias WHERE tenant_id = k.tenant_id AND survivor_id = k.customer_id)) "
    f"AND kind = 'promise' AND status = 'waiting' AND entity_id = k.entity_id ORDER BY expected_on, expected_id LIMIT {PROMISES_MAX}) e "
    "WHERE EXISTS (SELECT 1 FROM t CROSS JOIN LATERAL (SELECT 1 FROM expected_payment WHERE tenant_id = t.tenant_id "
    "AND kind = 'promise' AND status = 'waiting' LIMIT 1) x)"
)


async def owed(
    conn: AsyncConnection, debtors: Mapping[Debtor, bool], also: Iterable[Key], payments: Iterable[UUID]
) -> tuple[dict[Debtor, list[Seen]], Experience]:
    """What debtors owe, those due first, and what they settled last; and the items `also`. What earlier payments of theirs tell, but for
    `payments`, and those of their tenants.

    What else names them is read of debtors whose payments say something (true), and of the items `also`.
    """
    rows = await records(
        conn,
        _OWED,
        **columns(list(debtors), "tenants", "entities", "customers"),
        worded=list(debtors.values()),
        **{f"i_{name}": values for name, values in keys(also).items()},
        payments=list(payments),
    )
    found: dict[Debtor, dict[UUID, Seen]] = {}
    told = Experience()
    for what, entity, tenant, customer, *row, more in rows:
        if what == "item":
            seen = Seen(tenant, customer, *row)
            found.setdefault((tenant, entity, customer), {})[seen.item_id] = seen
        elif what == "history":
            told.history.setdefault((tenant, customer), []).append(more)
        elif what == "promise":
            told.promises.setdefault((tenant, entity, customer), []).append(more)
        else:
            told.charges.setdefault(tenant, {})[more[0]] = more[1]
    items = {key: sorted(held.values(), key=attrgetter("due_date", "number", "item_id")) for key, held in found.items()}
    return items, told


_RATES = (
    "WITH t AS (SELECT DISTINCT tenant_id FROM unnest(CAST(:tenants AS uuid[])) AS t(tenant_id)) "  # noqa: S608 - our own text
    "SELECT t.tenant_id, c.paid_in, c.owed_in, CAST(min(c.price) AS float8) AS low, CAST(max(c.price) AS float8) AS high, "
    "CAST(count(*) AS int) AS times "
    "FROM t CROSS JOIN LATERAL (SELECT p.currency AS paid_in, i.currency AS owed_in, "
    "CAST(a.amount_minor AS numeric) / x.item_amount_minor AS price FROM (SELECT * FROM allocation_exchange "
    f"WHERE tenant_id = t.tenant_id AND booking_date BETWEEN CAST(:day AS date) - {RATES_DAYS} AND :day "
    f"ORDER BY booking_date DESC LIMIT {RATES_MAX}) x JOIN allocation a ON a.tenant_id = x.tenant_id "
    "AND a.payment_id = x.payment_id AND a.item_id = x.item_id JOIN payment p ON p.tenant_id = x.tenant_id AND p.payment_id = x.payment_id "
    "JOIN open_item i ON i.tenant_id = x.tenant_id AND i.item_id = x.item_id) c "
    "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
)


async def rates(conn: AsyncConnection, tenants: Iterable[UUID], day: date) -> Rates:
    """What items' currencies cost of late before a day."""
    found: Rates = {}
    for tenant, paid_in, owed_in, *seen in await records(conn, _RATES, tenants=list(tenants), day=day):
        found.setdefault((tenant, paid_in), {})[owed_in] = tuple(seen)
    return found
