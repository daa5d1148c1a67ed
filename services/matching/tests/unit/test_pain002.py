"""What a bank's report on a file says of its transactions, from the group down."""

import pytest
from camtfile import pain002
from iso20022 import valid
from matching.bankfiles import BankFileError
from matching.pain002 import MOST, parse


@pytest.mark.parametrize("version", ["03", "08", "10", "15"])
def test_every_version_since_the_third_is_read(version):
    report = parse(pain002("M", ("E1", "RJCT", "AC04"), ("E2", "ACSP", None), group=("PART",), version=version))
    assert (report.message_id, report.told, report.rest) == ("M", ["E1", "E2"], None)
    assert [(one.verdict, one.status, one.reason) for one in report.words.values()] == [
        ("refused", "RJCT", "AC04"),
        ("unchanged", "ACSP", None),
    ]


@pytest.mark.parametrize("version", ["03", "12", "14", "15"])
@pytest.mark.parametrize("more", [{"group": ("PART",)}, {"group": ("RJCT", "FF01")}, {"block": ("RJCT", "AM04")}, {}])
def test_the_reports_of_these_tests_are_valid(version, more):
    valid(pain002("M", ("E1", "RJCT", "AC04"), ("E2", None, None), version=version, **more))


@pytest.mark.parametrize(
    ("group", "block", "own", "told_of", "others"),
    [
        (("RJCT", "FF01"), (), None, ("refused", "FF01"), ("refused", "FF01")),
        (("RJCT", "FF01"), (), ("RJCT", "AC01"), ("refused", "AC01"), ("refused", "FF01")),
        (("RJCT", "FF01"), (), (None, "AC01"), ("refused", "AC01"), ("refused", "FF01")),
        ((), ("RJCT", "AM04"), None, ("refused", "AM04"), ("refused", "AM04")),
        (("PART",), ("RJCT", "AM04"), None, ("refused", "AM04"), ("refused", "AM04")),
        (("ACCP",), (), ("RJCT", "AC04"), ("refused", "AC04"), ("unchanged", None)),
        (("ACCP", "NARR"), (), ("RJCT", None), ("refused", None), ("unchanged", None)),
        (("PART",), ("PART",), ("RJCT", "AC04"), ("refused", "AC04"), None),
        (("PART",), (), None, ("unchanged", None), None),
        ((), (), ("CANC", None), ("refused", None), None),
        ((), (), ("RCVM", None), ("status_unknown", None), None),  # RVCM is a code; nothing is guessed
        (("ACCT",), (), None, ("status_unknown", None), ("status_unknown", None)),
        (("ACCT",), (), ("RJCT", "AC04"), ("refused", "AC04"), ("status_unknown", None)),
        (("RJCT", "FF01"), (), ("ACSC", None), ("contradictory", None), ("refused", "FF01")),
        (("RJCT", "DU01"), (), None, ("duplicate", "DU01"), ("duplicate", "DU01")),
        (("RJCT", "AM05"), (), ("RJCT", None), ("duplicate", "AM05"), ("duplicate", "AM05")),
        (("PART",), ("RJCT", "DU02"), None, ("duplicate", "DU02"), ("duplicate", "DU02")),
        (("PART",), (), ("RJCT", "DU04"), ("duplicate", "DU04"), None),
        (("RJCT", "DU01"), (), ("RJCT", "AC04"), ("refused", "AC04"), ("duplicate", "DU01")),
        (("PART",), (), ("RJCT", "AM05"), ("refused", "AM05"), None),  # it may just look like another one
        (("RJCT", "FF01"), ("ACSP",), None, ("contradictory", None), ("contradictory", None)),
        (("RJCT", "FF01"), (), ("SOON", None), ("contradictory", None), ("refused", "FF01")),
    ],
)
def test_a_transactions_status_is_its_own_else_that_of_what_it_is_in(group, block, own, told_of, others):
    report = parse(pain002("M", ("E1", *(own or (None, None))), group=group, block=block))
    found = [report.of(end) for end in ("E1", "E2")]
    assert [one and (one.verdict, one.reason) for one in found] == [told_of, others]


def test_a_transaction_that_goes_on_and_is_refused_as_a_duplicate_is_one():
    for told in ((("E1", "ACSP", None), ("E1", "RJCT", "DU04")), (("E1", "RJCT", "DU04"), ("E1", "ACSP", None))):
        assert parse(pain002("M", *told)).words["E1"].verdict == "duplicate"


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        (("RJCT", "RJCT"), "refused"),
        (("RJCT", "ACSP"), "contradictory"),
        (("ACSP", "RJCT"), "contradictory"),
        (("ACTC", "ACSP"), "unchanged"),
        (("ACSP", "SOON"), "status_unknown"),
        (("RJCT", "SOON"), "contradictory"),
    ],
)
def test_what_is_told_of_twice_counts_where_both_say_the_same(statuses, verdict):
    assert parse(pain002("M", *(("E1", status, None) for status in statuses))).words["E1"].verdict == verdict


def test_other_words_of_the_code_sets_change_nothing():
    transactions = "ACCC ACCP ACFC ACFW ACIS ACPD ACSC ACSP ACTC ACWC ACWP BLCK CPUC PATC PDNG PRES RCVC RCVD RVCM RVMC RVNA RVNC RVNM"
    report = parse(pain002("M", *((code, code, None) for code in transactions.split())))
    assert {one.verdict for one in report.words.values()} == {"unchanged"}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not well-formed XML"),
        (b"<Document/>", "no report on a message"),
        (pain002("M").replace(b"pain.002", b"pain.001").replace(b"CstmrPmtStsRpt", b"CstmrCdtTrfInitn"), "no report on a message"),
        (pain002("M").replace(b"CstmrPmtStsRpt", b"pain.002.001.02"), "no report on a message"),  # the version before
        (pain002(" "), "OrgnlMsgId is missing"),
        (pain002("M")[:-20], "not well-formed XML, line 1"),
        (b"<!DOCTYPE a [<!ENTITY b 'RJCT'>]>" + pain002("M", ("E1", "&b;", None)), "no DOCTYPE"),
        ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a>'.encode("utf-16") + pain002("M").decode().encode("utf-16-le"), "no DOCTYPE"),
        (pain002("M").replace(b"<GrpHdr>", b"<a>" * 300), "not well-formed XML"),
        (pain002("M", *((f"E{number}", "RJCT", None) for number in range(MOST + 1))), "more than 10000 transactions"),
        (pain002("M" * 17_000_000), "larger than"),
    ],
)
def test_what_is_no_report_is_refused_and_says_why(data, why):
    with pytest.raises(BankFileError, match=why):
        parse(data)
