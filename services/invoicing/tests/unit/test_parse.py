import csv
import json
import re
import sys
from pathlib import Path
from unittest import mock

import pytest
from invoicing import files, ubl
from invoicing.__main__ import main
from invoicing.domain.einvoice import findings
from lxml import etree
from ublfile import ubl as made


def _table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def index(shared_data):
    folder = shared_data / "invoices"
    if not (folder / "INDEX.csv").is_file():
        pytest.skip("the collection of e-invoices is not beside this checkout")
    return folder, _table(folder / "INDEX.csv")


def said_to_break(row) -> set[str]:
    return set(row["en16931_fatal"].replace(";", " ").replace("|", " ").split())


def test_every_sound_ubl_file_of_the_collection_is_accepted_and_no_file_breaks_it(index):
    folder, rows = index
    sound, accepted, invented = 0, 0, []
    for row in rows:
        reading = files.read((folder / row["file"]).read_bytes())
        json.dumps(files.summary(reading))
        if row["root"] not in {"Invoice", "CreditNote"} or not row["parse"].startswith("ok"):
            assert reading.verdict == "unreadable", row["file"]
            continue
        if not said_to_break(row):
            sound += 1
            accepted += reading.verdict == "accepted"
        invented += [(row["file"], finding.rule) for finding in reading.findings if finding.rule not in said_to_break(row)]
    assert invented == []
    assert accepted == sound > 200


def test_rules_agree_with_the_official_unit_tests(index):
    folder, _ = index
    cases = _table(folder / "unit_tests.csv")
    ours = _rules_checked()
    wrong, checked = [], 0
    for case in cases:
        if case["rule"] not in ours or case["set"] != "cen-unit" or not (folder / case["file"]).is_file():
            continue
        tree = etree.parse(folder / case["file"]).getroot()
        tests = [node for node in tree.iter() if isinstance(node.tag, str) and etree.QName(node).localname == "test"]
        bodies = [node for node in tests[int(case["test_no"]) - 1] if etree.QName(node).localname in {"Invoice", "CreditNote"}]
        if not bodies:
            continue
        checked += 1
        fires = case["rule"] in {finding.rule for finding in findings(ubl.read(bodies[0]))}
        if fires != case["verdict"].startswith("rule must fire"):
            wrong.append((case["file"], case["test_no"], case["verdict"]))
    assert wrong == []
    assert checked > 50


def _rules_checked() -> set[str]:
    source = Path(files.__file__).parent / "domain" / "einvoice.py"
    return set(re.findall(r'"(BR-[A-Z0-9-]+)"', source.read_text())) | {
        f"BR-{name}-08" for name in ("S", "Z", "E", "AE", "IC", "G", "O", "AF", "AG")
    }


def test_parse_prints_one_object_a_file_and_exits_0(tmp_path, capsys):
    contents = {"good.xml": made(), "bad.xml": made(payable="1.00"), "not.xml": b"no xml", "scan.pdf": b"%PDF-1.4"}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    assert main_with("parse", *(str(tmp_path / name) for name in contents)) == 0
    good, bad, unread, scan = map(json.loads, capsys.readouterr().out.splitlines())
    assert (good["format"], good["verdict"], good["rules"]) == ("ubl-invoice", "accepted", [])
    assert good["invoice"]["payable_minor"] == 12000
    assert (bad["verdict"], bad["rules"]) == ("rejected", ["BR-CO-16"])
    assert (unread["verdict"], unread["format"]) == ("unreadable", "unknown")
    assert scan["format"] == "pdf"


def main_with(*argv: str) -> int:
    with mock.patch.object(sys, "argv", ["invoicing", *argv]):
        return main()
