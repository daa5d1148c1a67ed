"""`matching parse FILE...`: what is in bank files, as JSON lines: one object per transaction, then one summary per file."""

import argparse
import io
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

from matching.bankfiles import BankFileError, NotAStatementError, detect, is_packed, read
from matching.domain.statements import Amount, Entry, Ordinals, Statement, Transaction

UNUSABLE = 2
"""Exit status where an argument is no file that can be opened; whatever a file holds, the status is 0."""
MAX_FINDINGS = 100


def parse_tool(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command."""
    parser = commands.add_parser("parse", help="print the transactions of bank files as JSON lines, then a summary per file")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.set_defaults(run=_parse)


def _parse(args: argparse.Namespace) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    status = 0
    try:
        for path in args.files:
            try:
                with path.open("rb") as file:
                    _print({"summary": _report(path, file)})
            except OSError as error:
                summary = _Summary(str(path)).as_json(
                    "unreadable", [{"reason": "unreadable", "detail": error.strerror or "cannot be read"}]
                )
                _print({"summary": summary})
                status = UNUSABLE
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        sys.stderr.close()
    return status


def _print(line: dict[str, object]) -> None:
    print(json.dumps(line, ensure_ascii=False))  # noqa: T201 - a command's answer


def _report(path: Path, file: BinaryIO) -> dict[str, object]:
    """Prints the transactions of a file; returns its summary."""
    summary = _Summary(str(path))
    try:
        summary.format = is_packed(file) or detect(file)
        ordinals = Ordinals()
        for statement, entry in read(file):
            if entry is None:
                summary.close(statement)
                ordinals = Ordinals()
                continue
            for one in entry.transactions:
                _print(_line(statement, entry, one, ordinals.key(one)))
            summary.add(statement, entry)
    except NotAStatementError as error:
        summary.format = error.kind
        return summary.as_json("not_a_statement", [{"reason": "not_a_statement", "detail": str(error)}])
    except BankFileError as error:
        return summary.as_json("unreadable", [{"reason": "unreadable", "detail": str(error)}])
    return summary.as_json("rejected" if summary.wrong else "ok", [])


class _Summary:
    """Counts and sums of a file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.format: str | None = None
        self.counts: Counter[str] = Counter()
        self.sums: dict[str, list[int]] = {}
        self.schemes: Counter[str] = Counter()
        self.wrong: list[dict[str, object]] = []
        self.unread: list[dict[str, object]] = []
        self.remarks: list[str] = []
        self.statements: list[dict[str, object]] = []

    def add(self, statement: Statement, entry: Entry) -> None:
        """Counts an entry and its transactions; one that could not be read is a finding, for nothing else is printed of it."""
        counts = self.counts
        if entry.problem and len(self.unread) < MAX_FINDINGS:
            self.unread.append(_finding(statement, "entry_differs", f"entry {statement.entries}: {entry.problem}"))
        counts["entries"] += 1
        self._remark(f"entry {counts['entries']}", entry.remarks)
        counts["batches"] += entry.batch
        counts["reversals"] += any(one.reversal for one in entry.transactions)
        for one in entry.transactions:
            counts["transactions"] += 1
            counts["returns"] += one.return_reason is not None
            counts[one.kind] += 1
            self.sums.setdefault(one.currency, [0, 0])[0 if one.credit else 1] += one.amount_minor
            self.schemes.update(reference.scheme for reference in one.references)

    def close(self, statement: Statement) -> None:
        """Notes the verdict on a statement that is complete."""
        counts = self.counts
        counts["statements"] += 1
        counts["with_balances"] += statement.balanced is not None
        counts["balanced"] += statement.balanced is True
        verdict = statement.verdict()
        self._remark(f"statement {statement.number}", statement.remarks)
        said: dict[str, object] = {
            "number": statement.number,
            "account": statement.account,
            "currency": statement.currency,
            "kind": statement.kind,
            "entries": statement.entries,
            "opening_minor": statement.opening_minor,
            "closing_minor": statement.closing_minor,
            "verdict": verdict[0] if verdict else "ok",
        }
        if verdict:
            self.wrong.append(_finding(statement, *verdict))
        self.statements.append(said)

    def _remark(self, where: str, remarks: list[str]) -> None:
        self.remarks += [f"{where}: {one}" for one in remarks][: MAX_FINDINGS - len(self.remarks)]

    def as_json(self, verdict: str, findings: list[dict[str, object]]) -> dict[str, object]:
        """The summary line. Sums over several currencies are of minor units as they are; `sums` has each currency apart."""
        counts = self.counts
        return {
            "file": self.file,
            "format": self.format,
            "statements": counts["statements"],
            "entries": counts["entries"],
            "transactions": counts["transactions"],
            "credit_minor": sum(credit for credit, _ in self.sums.values()),
            "debit_minor": sum(debit for _, debit in self.sums.values()),
            "sums": {currency: {"credit_minor": credit, "debit_minor": debit} for currency, (credit, debit) in self.sums.items()},
            "batches": counts["batches"],
            "returns": counts["returns"],
            "reversals": counts["reversals"],
            "kinds": {kind: counts[kind] for kind in ("payment", "return", "refund", "fee", "total", "other") if counts[kind]},
            "structured_references": dict(self.schemes),
            "balance_check": f"{counts['balanced']}/{counts['with_balances']} statements balance" if counts["with_balances"] else None,
            "verdict": verdict,
            "findings": [*findings, *self.wrong, *(one for one in self.unread if one not in self.wrong)][:MAX_FINDINGS],
            "remarks": self.remarks,
            "statement_list": self.statements[:MAX_FINDINGS],
        }


def _finding(statement: Statement, reason: str, detail: str) -> dict[str, object]:
    return {"statement": statement.number, "account": statement.account, "reason": reason, "detail": detail}


def _line(statement: Statement, entry: Entry, one: Transaction, key: str) -> dict[str, object]:
    return {
        "account": statement.account,
        "statement": statement.number,
        "identity": key,
        "kind": one.kind,
        "status": one.status,
        "booking_date": one.booking_date.isoformat() if one.booking_date else None,
        "value_date": one.value_date.isoformat() if one.value_date else None,
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "instructed_amount": _money(one.instructed) if one.instructed else None,
        "charges": [_money(charge) for charge in one.charges] or None,
        "direction": "credit" if one.credit else "debit",
        "reversal": one.reversal,
        "bank_reference": one.bank_reference,
        "transaction_id": one.transaction_id,
        "transaction_code": one.transaction_code,
        "batch_id": one.batch_id or (one.entry_reference if entry.batch else None),
        "end_to_end_id": one.end_to_end_id,
        "mandate_id": one.mandate_id,
        "structured_reference": one.structured_reference,
        "structured_references": [{"scheme": reference.scheme, "reference": reference.value} for reference in one.references],
        "remittance": one.remittance,
        "counterparty_name": one.counterparty_name,
        "ultimate_name": one.ultimate_name,
        "counterparty_iban": one.counterparty_iban,
        "virtual_iban": one.virtual_iban,
        "return_reason": one.return_reason,
    }


def _money(amount: Amount) -> dict[str, object]:
    return {"amount_minor": amount.minor, "currency": amount.currency}
