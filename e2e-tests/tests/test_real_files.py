"""Real input: e-invoices and bank files that others published, through the public APIs. Nothing gives a 500."""

import hashlib

import pytest

POSTED_MAX = 60


def post(client, path, content):
    key = hashlib.sha256(content).hexdigest()
    return client.post(path, content=content, headers={"content-type": "application/xml", "idempotency-key": key})


def files(folder, *markers):
    found = [path for path in sorted(folder.rglob("*.xml")) if any(marker in path.read_bytes()[:4000] for marker in markers)]
    step = max(1, len(found) // POSTED_MAX)
    return found[::step]


def test_published_ubl_invoices_are_taken_or_refused_by_name(ours, shared_data):
    found = files(shared_data / "invoices", b"urn:oasis:names:specification:ubl:schema:xsd:Invoice-2")
    if not found:
        pytest.skip("no UBL invoice among the outside test data")
    for path in found:
        answer = post(ours.invoicing, "/v1/invoices/files?source_system=published", path.read_bytes())
        assert answer.status_code < 500, (path.name, answer.text)
        assert answer.is_success or answer.json()["code"], path.name


def test_published_camt_files_are_taken_or_refused_by_name(ours, shared_data):
    found = files(shared_data / "bank", b"urn:iso:std:iso:20022:tech:xsd:camt.053", b"urn:iso:std:iso:20022:tech:xsd:camt.054")
    if not found:
        pytest.skip("no camt file among the outside test data")
    for path in found:
        answer = post(ours.matching, "/v1/bank-files", path.read_bytes())
        assert answer.status_code < 500, (path.name, answer.text)
        assert answer.is_success or answer.json()["code"], path.name
