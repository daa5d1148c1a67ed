import csv
from datetime import UTC, datetime

import pytest
from invoicing.einvoices.drafting import draft_of
from invoicing.einvoices.pool import ReaderPool
from invoicing.handlers.invoices import receive

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)


async def test_every_accepted_file_of_the_collection_can_be_booked(client, database, shared_data, checked):
    folder = shared_data / "invoices"
    if not (folder / "INDEX.csv").is_file():
        pytest.skip("the collection of e-invoices is not beside this checkout")
    rows = csv.DictReader((folder / "INDEX.csv").read_text(encoding="utf-8").splitlines())
    # every form once or a few times: all are read in unit/test_collection.py
    names = [row["file"] for row in rows if row["root"] != "testSet" and "phive-xrechnung-bad" not in row["file"]][::3]
    with ReaderPool(2) as pool:
        found = list(pool.read_all((folder / name).read_bytes() for name in names))
    pairs = zip(names, found, strict=True)
    readings = {name: reading for name, reading in pairs if reading.verdict == "accepted" and reading.booked.obstacle is None}
    drafts = [
        draft_of(reading, entity_id=client.entity_id, source_system=f"file{number}", source_version=1)
        for number, reading in enumerate(readings.values())
    ]
    async with database.transaction(client.tenant_id) as conn:
        outcomes = await receive(conn, client.tenant_id, drafts, now=NOW, actor="test")
    assert len(outcomes) > 60
    refused = {name: outcome.refusal.args for name, outcome in zip(readings, outcomes, strict=True) if outcome.refusal}
    assert refused == {}
    async with database.transaction(client.tenant_id) as conn:
        again = await receive(conn, client.tenant_id, drafts, now=NOW, actor="test")
    assert {outcome.status for outcome in again} == {"unchanged"}
    await checked()
