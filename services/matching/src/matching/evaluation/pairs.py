"""`matching evaluate --pairs DIR`: payments and invoices as SAP-like tables, judged by the pairs that are found.

Each `NAME_payments.csv`, `NAME_invoices.csv` and `NAME_matches.csv` (plain or gzipped) is one history: a customer's invoices carry
a billing and an assignment number, a payment a memo line with errors. It is put into the form of a history and run by the same
protocol: the first 40 % by posting date may be learnt from, the pairs of the rest are counted.
"""

import csv
import gzip
import json
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from matching.domain.engine.confidence import Model
from matching.domain.engine.decision import judge
from matching.domain.engine.records import Clues, Customer, OpenItem
from matching.domain.engine.text import fold
from matching.evaluation.history import History, HistoryError, TrueLine, Truth
from matching.evaluation.learning import fit
from matching.evaluation.protocol import Case, cases

TRAIN = 0.4
LIKELY = 0.5
"""A pair is claimed when the reading that it is in is more likely right than wrong."""


def evaluate_pairs(folder: Path) -> dict[str, Any]:
    """Precision, recall and F1 of the pairs of each history in the folder. Raises HistoryError where it cannot be read."""
    names = sorted({re.sub(r"_payments\.csv(\.gz)?$", "", one.name) for one in folder.glob("*_payments.csv*")})
    if not names:
        raise HistoryError(f"{folder}: no file ends in _payments.csv or _payments.csv.gz")
    return {name: _run(read_pairs(folder, name), name) for name in names}


def _run(history: History, name: str) -> dict[str, Any]:
    train: list[Case] = []
    model: Model | None = None
    hits = claimed = true = payments = whole = 0
    for case in cases(history):
        if case.train:
            train.append(case)
            continue
        model = model or fit(train, name)
        judge(case.found.hypotheses, model)
        best = max(case.found.hypotheses, key=lambda one: (one.confidence, one.key()), default=None)
        found = {line.item.item_id for line in best.lines} if best and best.confidence >= LIKELY else set()
        right = {line.invoice_id for line in case.truth.lines}
        hits += len(found & right)
        claimed += len(found)
        true += len(right)
        payments += 1
        whole += found == right
    precision, recall = hits / claimed if claimed else 0.0, hits / true if true else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {
        "payments": payments,
        "fitted_on": len(train),
        "pairs": true,
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(f1, 4),
        "payments_wholly_right": round(whole / payments, 4) if payments else None,
    }


def read_pairs(folder: Path, name: str) -> History:
    """The tables as a history. Raises HistoryError naming file and line."""
    customers: dict[str, Customer] = {}
    items: dict[str, OpenItem] = {}
    for number, row in _rows(folder, f"{name}_invoices"):
        with _Line(folder, f"{name}_invoices", number):
            key = row["Customer ID"]
            customers.setdefault(key, Customer(key, key, row["Customer Name"], row["Currency Code"]))
            amount = _minor(row["Amount"])
            items[row["invoice_id"]] = OpenItem(
                row["invoice_id"], key, row["Billing Number"], row["Currency Code"], _day(row["Document Date"]), _day(row["Due Date"]),
                amount, amount, (fold(row["Assignment Number"]),),
            )  # fmt: skip
    length = max((len(item.number) for item in items.values()), default=0)
    payments = []
    for number, row in _rows(folder, f"{name}_payments"):
        with _Line(folder, f"{name}_payments", number):
            payments.append(
                Clues(
                    row["payment_id"], _day(row["Posting Date"]), _minor(row["Amount"]), row["Currency"],
                    debtor_name=row["Business Partner"], debtor_iban=row["Account Number"], remittance=[_spaced(row["Memo Line"], length)],
                )
            )  # fmt: skip
    payments.sort(key=lambda one: (one.booking_date, int(str(one.payment_id))))
    truth: dict[str, Truth] = {}
    by_id = {str(one.payment_id): one for one in payments}
    for number, row in _rows(folder, f"{name}_matches"):
        with _Line(folder, f"{name}_matches", number):
            _settle(row, by_id, items, truth)
    known = [one for one in payments if str(one.payment_id) in truth]
    train = {str(one.payment_id) for one in known[: int(len(known) * TRAIN)]}
    return History(list(customers.values()), sorted(items.values(), key=lambda one: one.issue_date), known, truth, train)


def _settle(row: dict[str, str], payments: dict[str, Clues], items: dict[str, OpenItem], truth: dict[str, Truth]) -> None:
    invoices = [items[str(one)] for one in json.loads(row["invoice_ids"])]
    paying = sorted((payments[str(one)] for one in json.loads(row["payment_ids"])), key=lambda one: one.booking_date)
    left = {str(item.item_id): item.original_minor for item in invoices}
    for at, clues in enumerate(paying):
        if len(paying) == 1:
            lines = [TrueLine(str(item.item_id), item.original_minor, 0, None) for item in invoices]
        else:
            key = str(invoices[0].item_id)
            cents = left[key] if at == len(paying) - 1 else min(clues.amount_minor, left[key])
            left[key] -= cents
            lines = [TrueLine(key, cents, 0, None)]
        truth[str(clues.payment_id)] = Truth(
            str(clues.payment_id), row["match_category"], str(invoices[0].customer_id), lines, 0, no_reference=False
        )


def _spaced(memo: str, length: int) -> str:
    """A memo whose numbers stand apart: from the words after them, and from each other where they all have one length."""
    apart = re.sub(r"(?<=[0-9])(?=(REF|NO|NUM)\b)", " ", memo.upper())

    def cut(run: re.Match[str]) -> str:
        digits = run.group()
        if length and len(digits) >= 2 * length and len(digits) % length == 0:
            return " ".join(digits[at : at + length] for at in range(0, len(digits), length))
        return digits

    return re.sub(r"(?<![A-Z0-9])[0-9]+", cut, apart)


class _Line:
    """Names file and line of what goes wrong inside."""

    def __init__(self, folder: Path, name: str, number: int) -> None:
        self.place = f"{folder / name}.csv, line {number}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, KeyError):
            raise HistoryError(f"{self.place}: {error} is missing") from error
        if isinstance(error, ValueError | InvalidOperation | TypeError):
            raise HistoryError(f"{self.place}: {error}") from error


def _rows(folder: Path, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    path = next((one for one in (folder / f"{name}.csv", folder / f"{name}.csv.gz") if one.is_file()), None)
    if path is None:
        raise HistoryError(f"{folder}: neither {name}.csv nor {name}.csv.gz is there")
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open(encoding="utf-8", newline="") as file
        ):
            yield from enumerate(csv.DictReader(file), 2)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise HistoryError(f"{path}: {error}") from error


def _minor(value: str) -> int:
    """Hundredths, of amounts that went through binary fractions: 402279.72999999998 is 402279.73."""
    return int((Decimal(value) * 100).to_integral_value())


def _day(value: str) -> date:
    return date.fromisoformat(value)
