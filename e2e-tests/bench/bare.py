"""The bare loop: what the same rows and as many events cost with nothing else.

`python -m bench.bare worker|relay`, addresses from the environment. One set-wise statement per batch writes inbox, payment,
allocation, invoice and outbox; four events per payment leave. No telemetry, row-level security, ledger, audit or checks.
"""

import asyncio
import contextlib
import os
import sys
from zlib import crc32

import asyncpg
import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import CommitFailedError, IllegalStateError

DSN = os.environ.get("BENCH_DSN", "")
BOOTSTRAP = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
PREFIX = os.environ.get("BENCH_PREFIX", "")
BATCH = 1000

DDL = """
CREATE TABLE b_inbox (event_id uuid PRIMARY KEY, seen timestamptz NOT NULL DEFAULT now());
CREATE TABLE b_invoice (id uuid PRIMARY KEY, tenant uuid NOT NULL, ref text NOT NULL, customer uuid NOT NULL, total bigint NOT NULL,
  open bigint NOT NULL, version bigint NOT NULL DEFAULT 1) WITH (fillfactor = 70);
CREATE UNIQUE INDEX ON b_invoice (tenant, ref);
CREATE TABLE b_payment (id uuid PRIMARY KEY, tenant uuid NOT NULL, ref text NOT NULL, amount bigint NOT NULL, unallocated bigint NOT NULL);
CREATE TABLE b_allocation (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payment_id uuid NOT NULL, invoice_id uuid NOT NULL, amount bigint NOT NULL);
CREATE TABLE b_outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic text NOT NULL, key text NOT NULL, value text NOT NULL);
"""

STATEMENT = """
WITH p AS (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[]) WITH ORDINALITY AS t(event_id, tenant, payment_id, ref, amount, ord)),
n AS (INSERT INTO b_inbox (event_id) SELECT event_id FROM p ON CONFLICT DO NOTHING RETURNING event_id),
f AS (SELECT p.* FROM p JOIN n USING (event_id)),
i AS (SELECT id, tenant, ref, open FROM b_invoice WHERE (tenant, ref) IN (SELECT tenant, ref FROM f) ORDER BY id FOR UPDATE),
a AS (SELECT f.payment_id, f.tenant, f.ref, f.amount, i.id AS invoice_id, CASE WHEN i.id IS NULL THEN 0 ELSE least(f.amount, greatest(0, i.open - coalesce(
  sum(f.amount) OVER (PARTITION BY i.id ORDER BY f.ord ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0))) END::bigint AS alloc FROM f LEFT JOIN i USING (tenant, ref)),
ip AS (INSERT INTO b_payment SELECT payment_id, tenant, ref, amount, amount - alloc FROM a),
ia AS (INSERT INTO b_allocation (payment_id, invoice_id, amount) SELECT payment_id, invoice_id, alloc FROM a WHERE alloc > 0),
u AS (UPDATE b_invoice v SET open = v.open - s.s, version = v.version + 1 FROM (SELECT invoice_id, sum(alloc)::bigint AS s FROM a WHERE alloc > 0 GROUP BY 1) AS s
  WHERE v.id = s.invoice_id RETURNING v.*)
INSERT INTO b_outbox (topic, key, value)
SELECT t.topic, u.tenant || ':' || u.id, json_build_object('event', t.topic, 'item_id', u.id, 'version', u.version, 'customer_id', u.customer, 'kind', 'invoice',
  'source_system', 'bench', 'invoice_number', u.ref, 'currency', 'EUR', 'issue_date', '2026-01-01', 'original_minor', u.total, 'open_minor', u.open, 'disputed_minor', 0,
  'settled', json_build_object('cash_minor', u.total - u.open, 'discount_minor', 0, 'credit_minor', 0, 'charges_minor', 0, 'withheld_minor', 0, 'set_off_minor', 0, 'written_off_minor', 0),
  'instalments', json_build_array(json_build_object('number', 1, 'due_date', '2026-02-01', 'amount_minor', u.total, 'open_minor', u.open)), 'status', 'paid')::text
FROM u CROSS JOIN (VALUES ('PaymentMatched'), ('OpenItemChanged'), ('AccountBalanceChanged'), ('InvoicePaid')) AS t(topic)
"""


class Payment(msgspec.Struct):
    """The fields of PaymentReceived that matter here."""

    event_id: str
    tenant: str
    payment_id: str
    ref: str
    amount: int


async def worker() -> None:
    """Consumes, writes, commits offsets; nothing else."""
    decode = msgspec.json.Decoder(Payment).decode
    database = await asyncpg.connect(DSN)
    consumer = AIOKafkaConsumer(
        PREFIX + "BarePayment",
        bootstrap_servers=BOOTSTRAP,
        group_id=PREFIX + "bare",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    await database.execute("SET plan_cache_mode = force_custom_plan")  # a generic one expects ten rows a batch and compares all with all
    statement = await database.prepare(STATEMENT)
    while True:
        polled = await consumer.getmany(timeout_ms=100, max_records=BATCH)
        if polled:
            rows = [decode(record.value) for lane in polled.values() for record in lane]
            await statement.fetch(*([getattr(row, name) for row in rows] for name in Payment.__struct_fields__))
            ours = consumer.assignment()
            with contextlib.suppress(CommitFailedError, IllegalStateError):  # the other worker joined: it meets these again, and the inbox
                if reached := {tp: lane[-1].offset + 1 for tp, lane in polled.items() if tp in ours}:
                    await consumer.commit(reached)


async def relay() -> None:
    """Publishes and removes outbox rows."""
    database = await asyncpg.connect(DSN)
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all", enable_idempotence=True, max_batch_size=256 * 1024)
    await producer.start()
    count = len(await producer.partitions_for(PREFIX + "BarePaid"))
    await database.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")  # else it reads the whole table
    while True:
        rows = await database.fetch("SELECT id, topic, key, value FROM b_outbox ORDER BY id LIMIT 2000")
        if not rows:
            await asyncio.sleep(0.005)
            continue
        lanes: dict[tuple[str, int], list[tuple[bytes, bytes]]] = {}
        for _, topic, key, value in rows:
            name = PREFIX + ("BarePaid" if topic == "InvoicePaid" else "BareOther")
            raw = key.encode()
            lanes.setdefault((name, crc32(raw) % count), []).append((raw, value.encode()))
        waiting = []
        for (name, partition), lane in lanes.items():
            batch = producer.create_batch()
            for key, value in lane:
                if batch.append(key=key, value=value, timestamp=None) is None:
                    waiting.append(await producer.send_batch(batch, name, partition=partition))
                    batch = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None)
            waiting.append(await producer.send_batch(batch, name, partition=partition))
        for future in waiting:
            await future
        await database.execute("DELETE FROM b_outbox WHERE id = ANY($1::bigint[])", [row[0] for row in rows])


if __name__ == "__main__":
    uvloop.run({"worker": worker, "relay": relay}[sys.argv[1]]())
