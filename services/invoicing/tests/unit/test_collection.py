"""Every file of the collection beside the checkout: the verdict and the rules that its index states, or a row of the docs' table."""

import csv
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from invoicing.einvoices.pool import ReaderPool
from invoicing.einvoices.summary import summary

DOCS = Path(__file__).parents[4] / "docs" / "e-invoices.md"
INVOICES = {"Invoice", "CreditNote", "CrossIndustryInvoice", "CrossIndustryDocument"}
STATED = {
    "accepted": ("valid", "good case", "directory states: correct", "file name states: valid", "published example (valid"),
    "rejected": ("invalid:", "file name states: invalid", "file name states: neg", "file name states: not val", "directory states: fail"),
}


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def collection(shared_data) -> tuple[list[dict[str, str]], list[dict[str, str]], dict[str, dict[str, Any]]]:
    """(rows of the index, unit tests, what we say by file)."""
    folder = shared_data / "invoices"
    if not (folder / "INDEX.csv").is_file():
        pytest.skip("the collection of e-invoices is not beside this checkout")
    rows = [row for row in table(folder / "INDEX.csv") if (folder / row["file"]).is_file()]
    with ReaderPool(2) as pool:
        readings = pool.read_all((folder / row["file"]).read_bytes() for row in rows)
        said = {row["file"]: summary(reading) for row, reading in zip(rows, readings, strict=True)}
    return rows, table(folder / "unit_tests.csv"), said


def by_the_official_rules(row: dict[str, str]) -> dict[str, set[str]]:
    """What the index measured: the rules of the norm and of its national forms, by severity; `(w)` marks a warning."""
    national = row["cius_rules_fired"].partition(":")[2].split()
    return {
        "fatal": set(row["en16931_fatal"].split()) | {rule for rule in national if not rule.startswith("(w)")},
        "warning": set(row["en16931_warning"].split()) | {rule[3:] for rule in national if rule.startswith("(w)")},
    }


def expected_verdict(row: dict[str, str]) -> str:
    if not row["parse"].startswith("ok") or row["root"] not in INVOICES:
        return "unreadable"
    for verdict, beginnings in STATED.items():
        if row["expected"].startswith(beginnings):
            return verdict
    broken = row["xsd"].startswith("invalid") or by_the_official_rules(row)["fatal"]
    return "rejected" if broken else "accepted"


def excepted(kind: str) -> dict[str, str]:
    """Patterns of files in the docs' table of exceptions of this kind, with the reason."""
    rows = re.findall(rf"^\| {kind} \| `([^`]+)` \| (.+?) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(rows)


def unexplained(kind: str, differing: dict[str, Any]) -> dict[str, Any]:
    """What differs and no exception explains. An exception that explains nothing is an error too."""
    patterns = excepted(kind)
    idle = [pattern for pattern in patterns if not any(fnmatch(file, pattern) for file in differing)]
    assert idle == []
    return {file: what for file, what in differing.items() if not any(fnmatch(file, pattern) for pattern in patterns)}


def test_every_file_gets_the_verdict_that_its_index_expects(collection):
    rows, _, said = collection
    differing = {
        row["file"]: (expected_verdict(row), said[row["file"]]["verdict"])
        for row in rows
        if row["root"] != "testSet" and said[row["file"]]["verdict"] != expected_verdict(row)
    }
    assert unexplained("verdict", differing) == {}


def test_every_rule_that_the_index_names_is_named(collection):
    rows, _, said = collection
    differing = {}
    for row in rows:
        if row["root"] not in INVOICES:
            continue
        ours = {rule["id"] for rule in said[row["file"]]["rules"]}
        official = by_the_official_rules(row)
        missed = (official["fatal"] | official["warning"]) - ours
        norm = {r["id"] for r in said[row["file"]]["rules"] if r["source"].startswith("EN 16931") and r["severity"] != "warning"}
        invented = norm - official["fatal"] - official["warning"]
        if missed or invented:
            differing[row["file"]] = (missed, invented)
    assert unexplained("rules", differing) == {}


def test_the_schema_says_what_the_index_says(collection):
    rows, _, said = collection
    differing = {
        row["file"]: row["xsd"]
        for row in rows
        if row["xsd"] and (row["xsd"] == "valid") == any(rule["id"] == "XSD" for rule in said[row["file"]]["rules"])
    }
    assert unexplained("schema", differing) == {}


def test_single_rules_fire_as_the_official_unit_tests_say(collection):
    _, cases, said = collection
    differing: dict[str, set[str]] = {}
    checked = 0
    for case in cases:
        answer = said.get(case["file"])
        if answer is None:
            continue
        checked += 1
        document = (answer.get("documents") or [answer])[int(case["test_no"]) - 1]
        fires = case["rule"] in {rule["id"] for rule in document["rules"]}
        if fires != case["verdict"].startswith("rule must fire"):
            differing.setdefault(case["file"], set()).add(case["test_no"])
    assert checked > 1000
    assert unexplained("unit test", differing) == {}


def test_amount_due_currency_due_date_reference_and_account_are_those_of_the_index(collection):
    rows, _, said = collection
    differing = {}
    for row in rows:
        invoice = said[row["file"]]["invoice"]
        if row["root"] not in INVOICES or invoice is None:
            continue
        places = {"JPY": 0, "ISK": 0, "KRW": 0}.get(row["currency"], 2)
        due = invoice["payable_minor"]
        ours = {
            "payable": None if due is None else due / 10**places,
            "currency": invoice["currency"] or "",
            "due_date": invoice["due_date"] or "",
            "payment_reference": invoice["payment_reference"] or "",
            "iban": (invoice["payment_account"] or "").replace(" ", ""),
        }
        index = {
            "payable": float(row["payable"]) if row["payable"] else None,
            "currency": row["currency"],
            "due_date": re.sub(r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3", row["due_date"]),
            "payment_reference": " ".join(row["payment_reference"].split()),
            "iban": row["iban"].replace(" ", ""),
        }
        wrong = {name: (index[name], ours[name]) for name in index if index[name] not in ("", None) and index[name] != ours[name]}
        if wrong:
            differing[row["file"]] = wrong
    assert unexplained("value", differing) == {}
