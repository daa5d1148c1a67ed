"""Every published bank file, against what its index counts: files that others wrote, from 38 sources.

Where we differ from the index the file stands in DIFFERENT with both figures and the reason; docs/bank-formats.md tells the same.
"""

import csv
from collections import Counter

import pytest
from matching.bankfiles import BankFileError, NotAStatementError, read

ONE_PER_ENTRY = "an entry without details is one transaction; the index counts details only"
NO_AMOUNTS = "its details have no amount of their own: one total that waits, with their references"
RECORDS = "the index counts 2.1 records; a detail of a movement is no movement"
DEFECT = "no direction or no amount that can be read: the statement is rejected, nothing of the entry is guessed"
MILLS = "an amount of a tenth of a cent is no amount in euro: the statement is rejected"
ORACLE = "the outside parser reads less of the file"
FILES = {
    ONE_PER_ENTRY: {
        "camt/genkgo__camt/test_data__camt052.v1.xml": {"tx": 1},
        "camt/genkgo__camt/test_data__camt052.v8.xml": {"tx": 1},
        "camt/moov-io__iso20022/test_testdata__FI_camt_053_sample.xml.xml": {"tx": 13},
        "camt/viafintech__camt_parser/fixtures_053__valid_example_with_batch.xml": {"tx": 3},
        "camt/viafintech__camt_parser/fixtures_053__valid_example_with_datetime.xml": {"tx": 1},
        "camt/svapnil__iso20022.js/assets_abn_amro__example_camt.xml": {"tx": 29},
        "camt/svapnil__iso20022.js/assets_ing__example_camt.xml": {"tx": 9},
        "camt/dvbern__iso20022/camt053_v00104__Business_Sample_camt.053.001.04.xml": {"tx": 3},
        "camt/sebastienrousseau__bankstatementparser/tests_test_data__camt.053.001.02.xml": {"tx": 3},
    },
    NO_AMOUNTS: {
        "camt/genkgo__camt/test_data__camt054.v2.xml": {"tx": 1},
        "camt/genkgo__camt/test_data__camt054.v4.xml": {"tx": 1},
        "camt/genkgo__camt/test_data__camt054.v8.xml": {"tx": 1},
    },
    RECORDS: {
        "coda/wimverstuyf__php-coda-parser/tests_Samples__sample10.cod": {"entries": 1, "oracle_tx": 2},
        "coda/wimverstuyf__php-coda-parser/tests_Samples__sample2.cod": {"entries": 1},
        "coda/wimverstuyf__php-coda-parser/tests_Samples__sample3.cod": {"entries": 1},
        "coda/TRIPTYK__typescript-coda-parser/tests_samples__sample2.cod": {"entries": 1},
        "coda/supervos__coda-parser/CodaParserTests_Samples__sample2.cod": {"entries": 1},
        "coda/OCA__l10n-belgium/unt_statement_import_coda_test_coda_file__Ontvangen_CODA.2012-01-11-18.59.15.txt": {"entries": 5},
        "coda/pypi_febelfin-coda/coda__CODA.txt": {"entries": 59, "returns": 2, "oracle_tx": 67},
    },
    DEFECT: {
        "camt/hitobito__hitobito/fixtures_invoices__camt.054-without-amount.xml": {"tx": 0, "references": 0},
        "camt/hitobito__hitobito/fixtures_invoices__camt.054_version_001.04.xml": {"tx": 5, "batches": 1, "references": 5},
        "camt/hitobito__hitobito/fixtures_invoices__camt.054_version_001.08.xml": {"tx": 5, "batches": 1, "references": 5},
    },
    "the file holds no day that exists: the entry cannot be booked": {
        "mt940/prowide__prowide-core/test_resources__sample_JPchar.txt": {},
    },
    MILLS: {
        "coda/wimverstuyf__php-coda-parser/tests_Samples__sample6.cod": {},
        "coda/TRIPTYK__typescript-coda-parser/tests_samples__sample6.cod": {},
    },
    ORACLE: {
        "mt940/fruitl00p__php-mt940/Engine_Rabo__sample": {"oracle_tx": 39},
        "mt940/IsraelIyonsi__Mt940.NET/Mt940.Net.Tests_fixtures__reversal-marks.sta": {"balance": "1/1"},
    },
}
DIFFERENT = {file: figures for files in FILES.values() for file, figures in files.items()}
NOTHING_IN_IT = {
    "camt053.v2.wrong.xml",
    "camt.054-invalid.xml",
    "test-camt-parse-invalid.xml",
    "test-camt-parse-none.xml",
    "aqbanking__aqbanking",  # a program's import profiles, named after the messages
}


def index(shared_data):
    with (shared_data / "bank" / "INDEX.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def rows(shared_data):
    return [row for row in index(shared_data) if (shared_data / "bank" / row["file"]).is_file()]


def figures(path):
    """What we find in a file, by the names of the index; statements that balance of those with two balances."""
    found = Counter()
    with path.open("rb") as file:
        for statement, entry in read(file):
            if entry is None:
                found["statements"] += 1
                found["balanced"] += statement.balanced is True
                found["checked"] += statement.balanced is not None
                found["wrong"] += statement.verdict() is not None
                continue
            found["entries"] += 1
            found["batches"] += entry.batch
            found["reversals"] += any(one.reversal for one in entry.transactions)
            if not entry.problem:
                assert sum(one.signed_minor for one in entry.transactions) == entry.signed_minor
            for one in entry.transactions:
                found["tx"] += 1
                found["returns"] += one.return_reason is not None
                found["references"] += len(one.references)
                assert one.amount_minor >= 0
    return found


def stated(row):
    """What the index says, where it does."""
    said = {name: int(row[name]) for name in ("statements", "entries", "tx", "batches", "returns", "reversals") if row[name]}
    if row["oracle_tx"]:
        said["oracle_tx"] = int(row["oracle_tx"])
    if row["statements"] and row["entries"] and row["kind"].startswith(("camt", "coda")):
        said["references"] = sum(int(part.rpartition(":")[2]) for part in row["structured_refs"].split(";") if part)
    return said


def test_the_files_have_the_statements_entries_and_transactions_that_their_index_counts(rows, shared_data):
    wrong, compared = [], 0
    for row in rows:
        if row["kind"].startswith("pain") or any(name in row["file"] for name in NOTHING_IN_IT):
            continue
        found = figures(shared_data / "bank" / row["file"])
        for name, count in stated(row).items():
            ours = found["tx" if name == "oracle_tx" else name]
            expected = DIFFERENT.get(row["file"], {}).get(name, count)
            compared += 1
            if ours != expected:
                wrong.append((row["file"], name, count, ours))
    assert (wrong, compared > 1000) == ([], True)


def test_the_statements_balance_that_their_index_says_balance_and_no_others(rows, shared_data):
    wrong = []
    for row in rows:
        if not row["balance_check"] or any(name in row["file"] for name in NOTHING_IN_IT):
            continue
        found = figures(shared_data / "bank" / row["file"])
        all_of = f"{found['statements']}/{found['statements']}"
        said = row["balance_check"].split()[0]
        said = {"balances": all_of, "does": f"0/{found['statements']}"}.get(said, said)
        expected = DIFFERENT.get(row["file"], {}).get("balance", said)
        if f"{found['balanced']}/{found['statements']}" != expected:
            wrong.append((row["file"], row["balance_check"], found))
    assert wrong == []


def test_opening_and_closing_balances_are_those_that_outside_parsers_read(rows, shared_data):
    wrong, compared = [], 0
    for row in rows:
        if row["oracle"].startswith("mt-940") and row["oracle_close"] and row["statements"] == "1":
            with (shared_data / "bank" / row["file"]).open("rb") as file:
                (statement,) = [one for one, entry in read(file) if entry is None]
            for said, ours in ((row["oracle_open"], statement.opening_minor), (row["oracle_close"], statement.closing_minor)):
                amount, _, currency = said.partition(" ")
                whole, _, decimals = amount.partition(".")
                minor = int(whole + decimals.ljust(2, "0")) if currency != "JPY" else int(whole)
                compared += 1
                if minor != ours:
                    wrong.append((row["file"], said, ours))
    assert (wrong, compared > 100) == ([], True)


def test_what_is_no_statement_is_named(rows, shared_data):
    for row in rows:
        if any(name in row["file"] for name in NOTHING_IN_IT):
            with pytest.raises(BankFileError), (shared_data / "bank" / row["file"]).open("rb") as file:
                list(read(file))
        elif row["kind"].startswith("pain"):
            with pytest.raises(NotAStatementError) as refused, (shared_data / "bank" / row["file"]).open("rb") as file:
                list(read(file))
            assert refused.value.kind == row["kind"]


def test_published_transactions_have_the_amounts_and_references_that_another_reader_found(shared_data):
    wanted: dict[str, list[dict[str, str]]] = {}
    with (shared_data / "remittance" / "remittance.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            wanted.setdefault(row["file"], []).append(row)
    compared, wrong = 0, []
    for name, said in wanted.items():
        with (shared_data / "bank" / name).open("rb") as file:
            found = [one for _, entry in read(file) if entry for one in entry.transactions]
        if len(found) != len(said):
            assert name in DIFFERENT or "garbled" in name, name
            continue
        for row, one in zip(said, found, strict=True):
            compared += 1
            reference = "".join(char for char in row["structured_reference"].upper() if char.isalnum())
            if reference != (one.structured_reference or ""):
                wrong.append((name, row["line"], "reference"))
            if row["direction"] and row["direction"].startswith("C") != one.credit:
                wrong.append((name, row["line"], "direction"))
    directions = {name for name, _, what in wrong if what == "direction"}
    assert [one for one in wrong if one[2] == "reference"] == []
    # the other reader takes the direction of a detail, where we take that of the entry that the balance sees
    assert directions <= {row["file"] for row in index(shared_data) if "genkgo" in row["file"] or "NotReversed" in row["file"]}
    assert compared > 5000
