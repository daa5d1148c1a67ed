import csv
from datetime import UTC, datetime

import pytest
from invoicing import files
from invoicing.handlers.invoices import receive

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)


async def test_every_accepted_file_of_the_collection_can_be_booked(client, database, shared_data, checked):
    folder = shared_data / "invoices"
    if not (folder / "INDEX.csv").is_file():
        pytest.skip("the collection of e-invoices is not beside this checkout")
    readings = {}
    for row in csv.DictReader((folder / "INDEX.csv").read_text(encoding="utf-8").splitlines()):
        reading = files.read((folder / row["file"]).read_bytes())
        if reading.verdict == "accepted" and reading.booked.obstacle is None:
            readings[row["file"]] = reading
    drafts = [
        files.draft_of(reading, entity_id=client.entity_id, source_system=f"file{number}", source_version=1)
        for number, reading in enumerate(readings.values())
    ]
    async with database.transaction(client.tenant_id) as conn:
        outcomes = await receive(conn, client.tenant_id, drafts, now=NOW, actor="test")
    assert len(outcomes) > 200
    refused = {name: outcome.refusal.args for name, outcome in zip(readings, outcomes, strict=True) if outcome.refusal}
    assert refused == {}
    async with database.transaction(client.tenant_id) as conn:
        again = await receive(conn, client.tenant_id, drafts, now=NOW, actor="test")
    assert {outcome.status for outcome in again} == {"unchanged"}
    await checked()
