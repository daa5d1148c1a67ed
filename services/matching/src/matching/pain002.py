"""Reads pain.002 (ISO 20022 customer payment status report): what a bank says became of a file of orders.

Versions 03 to 15: what is read here has the same names and places in all of them (message definition reports of pain.002.001.03 to
.15; the statuses are a list in the schema at first, codes of the external code sets later). Versions 01 and 02 have another root.

A transaction's status is its own, else its payment information's, else the group's: a bank may refuse at any of the three (EPC132-08,
SEPA Credit Transfer customer-to-PSP implementation guidelines: RJCT is in one of them). The definition has a group that is refused refused
throughout, and one that is accepted without refusals. The latter is not kept to (Oracle Fusion Payments, "ISO 20022 Payment Status
Reports": a batch that is accepted and two of its transactions that are not), and what is said of the one transaction is the more exact.
But what is accepted of a group that is refused is contradictory, and so is one transaction that is told of twice in two ways.

What is refused because the bank has it already is no refusal: the file was given to it twice, and what came first goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matching.bankfiles.errors import BankFileError
from matching.bankfiles.xmltree import Node, whole

MAX_BYTES = 16 * 1024 * 1024
MOST = 10_000
"""Transactions of one report: as many as a file of ours has. Each may repeat all of its order."""

Verdict = Literal["refused", "unchanged", "duplicate", "contradictory", "status_unknown"]
_ENDED = frozenset({"RJCT", "CANC"})
"""The bank will not execute it. CANC, cancelled because that was asked for, is for banks with an API, and these give reports too."""
_GOES_ON = frozenset({
    "ACCC", "ACCP", "ACFC", "ACFW", "ACIS", "ACPD", "ACSC", "ACSP", "ACTC", "ACWC", "ACWP", "BLCK", "CPUC", "PATC", "PDNG", "PRES",
    "RCVC", "RCVD", "RVCM", "RVMC", "RVNA", "RVNC", "RVNM",
})  # fmt: skip
"""All other codes of ExternalPaymentTransactionStatus1Code and ExternalPaymentGroupStatus1Code (ISO 20022 external code sets), but PART.

They say how far the bank is, or what it found of the creditor's name; whether it has paid, the booked debit says.
"""
_NOT_UNIQUE = frozenset({"DU01", "DU02", "DU03", "DU04", "DU05"})
"""The id of the message, of its payment information, the transaction, its EndToEndId, its instruction (ExternalStatusReason1Code): ours are
in one file once."""
_DUPLICATION = "AM05"
"""Of a whole file the same. Of one transaction it may be one that looks like another."""
_PART = "PART"
"""Some of the group is accepted, some not yet: no word about any one of it."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a report says of a transaction: its status as it came, what that means, and the reason as it came, where it is refused."""

    verdict: Verdict
    status: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """A report on the message `message_id`: the EndToEndIds told of, in order, what is said of each, and of all that are not told of."""

    message_id: str
    told: list[str | None]
    words: dict[str, Word]
    rest: Word | None

    def of(self, end_to_end_id: str) -> Word | None:
        """What is said of a transaction of the message; None where nothing is."""
        return self.words.get(end_to_end_id, self.rest)


def parse(data: bytes) -> Report:
    """What a report says. Raises BankFileError."""
    if len(data) > MAX_BYTES:
        raise BankFileError(f"the file is larger than {MAX_BYTES} bytes")
    root = whole(data)
    group = root.find(".//{*}CstmrPmtStsRpt/{*}OrgnlGrpInfAndSts")
    if group is None:
        raise BankFileError("no report on a message in the file (CstmrPmtStsRpt/OrgnlGrpInfAndSts)")
    top = Node(group)
    message_id = top.text("OrgnlMsgId")
    if message_id is None:
        raise BankFileError("OrgnlGrpInfAndSts: OrgnlMsgId is missing")
    told: list[str | None] = []
    said: dict[str, list[Word]] = {}
    rest: list[Word | None] = []
    for block in root.iterfind(".//{*}CstmrPmtStsRpt/{*}OrgnlPmtInfAndSts"):
        levels = [(top, "GrpSts"), (Node(block, header=True), "PmtInfSts")]
        if levels[1][0].text("OrgnlPmtInfId") == message_id:  # as in our files, which have one block
            rest.append(_word(levels))
        for element in block.iterfind("{*}TxInfAndSts"):
            if len(told) == MOST:
                raise BankFileError(f"more than {MOST} transactions in one report")
            transaction = Node(element)
            told.append(end := transaction.text("OrgnlEndToEndId"))
            if end is not None:
                said.setdefault(end, []).append(_word([*levels, (transaction, "TxSts")]) or Word("unchanged", None, None))
    words = {end: _together(found) for end, found in said.items()}
    found = [one for one in rest or [_word([(top, "GrpSts")])] if one]
    return Report(message_id, told, words, _together(found) if found else None)


def _word(levels: Sequence[tuple[Node, str]]) -> Word | None:
    """What the levels say, from the group down; None where none of them says anything."""
    said = [status[:35] for node, path in levels if (status := node.text(path)) and status != _PART]
    if not said:
        return None
    if said[-1] in _ENDED:
        given = [node for node, path in reversed(levels) if node.text(path) not in _GOES_ON]
        reasons = [node.text("StsRsnInf/Rsn/Cd") or node.text("StsRsnInf/Rsn/Prtry") for node in given]
        reason = next(filter(None, reasons), None)
        its_own = levels[-1][1] == "TxSts" and reasons[0] is not None
        twice = reason in _NOT_UNIQUE or (reason == _DUPLICATION and not its_own)
        return Word("duplicate" if twice else "refused", said[-1], reason)
    if not _ENDED.isdisjoint(said):
        return Word("contradictory", said[-1], None)
    return Word("unchanged" if said[-1] in _GOES_ON else "status_unknown", said[-1], None)


def _together(words: list[Word]) -> Word:
    """What several words about one transaction come to."""
    verdicts = {one.verdict for one in words}
    if len(verdicts) == 1:
        return words[0]
    if verdicts == {"duplicate", "unchanged"}:
        return next(one for one in words if one.verdict == "duplicate")
    one_of: Verdict = "contradictory" if verdicts & {"refused", "contradictory"} else "status_unknown"
    return Word(one_of, next(one.status for one in words if one.verdict != "unchanged"), None)
