"""Histories in the folder form: customers, invoices, payments and the truth, as JSON lines, plain or gzipped."""

import gzip
import json
import zlib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from matching.domain.engine.records import Clues, Customer, Id, OpenItem
from matching.domain.engine.text import fold

Row = TypeVar("Row")


class HistoryError(Exception):
    """A folder that cannot be read: says which file, which line and what is wrong."""


@dataclass(slots=True)
class TrueLine:
    """What a payment settled of an item."""

    invoice_id: Id
    cents: int
    diff_cents: int
    reason: str | None


@dataclass(slots=True)
class Truth:
    """What a back office found a payment to be."""

    payment_id: str
    kind: str
    customer_id: Id | None
    lines: list[TrueLine]
    unapplied_cents: int
    no_reference: bool


@dataclass(slots=True)
class History:
    """A folder. Payments are in booking order, invoices in the order of issue; `train` holds the ids that may be learnt from."""

    customers: list[Customer]
    invoices: list[OpenItem]
    payments: list[Clues]
    truth: dict[str, Truth] = field(default_factory=dict)
    train: set[str] = field(default_factory=set)


def read_history(folder: Path) -> History:  # noqa: C901 - one check per file
    """Reads a folder. Raises HistoryError where a file is missing or a line is not what it should be."""
    if not folder.is_dir():
        raise HistoryError(f"{folder}: no such folder")
    customers = list(_rows(folder, "customers", _once(_customer, lambda one: one.customer_id)))
    known = {one.customer_id for one in customers}
    invoices = list(_rows(folder, "invoices", _once(_invoice, lambda one: one.item_id)))
    numbers = {one.item_id for one in invoices}
    for one in invoices:
        if one.customer_id not in known:
            raise HistoryError(
                f"{folder}/invoices.jsonl: invoice {one.item_id} names customer {one.customer_id}, who is not in customers.jsonl"
            )
    train: set[str] = set()

    def payment(row: dict[str, Any]) -> Clues:
        clues = _payment(row)
        if row.get("split", "test") == "train":
            train.add(str(clues.payment_id))
        elif row.get("split", "test") != "test":
            raise ValueError(f"split is {row['split']!r}, neither train nor test")
        return clues

    payments = list(_rows(folder, "payments", _once(payment, lambda one: one.payment_id)))
    truth = {str(one.payment_id): one for one in _rows(folder, "truth", _once(_truth, lambda one: one.payment_id))}
    for clues in payments:
        if (true := truth.get(str(clues.payment_id))) is None:
            raise HistoryError(f"{folder}/truth.jsonl: nothing is said about payment {clues.payment_id}")
        for line in true.lines:
            if line.invoice_id not in numbers:
                raise HistoryError(
                    f"{folder}/truth.jsonl: payment {clues.payment_id} settles {line.invoice_id}, which is not in invoices.jsonl"
                )
    by_day = sorted(payments, key=lambda one: one.booking_date)  # those of one day stay in the order of the file
    return History(customers, sorted(invoices, key=lambda one: one.issue_date), by_day, truth, train)


def _once(read: Callable[[dict[str, Any]], Row], key: Callable[[Row], Hashable]) -> Callable[[dict[str, Any]], Row]:
    """A reader that refuses a second line about the same."""
    seen: set[Hashable] = set()

    def once(row: dict[str, Any]) -> Row:
        one = read(row)
        if key(one) in seen:
            raise ValueError(f"a second line about {key(one)}")
        seen.add(key(one))
        return one

    return once


def _rows(folder: Path, name: str, read: Callable[[dict[str, Any]], Row]) -> Iterator[Row]:
    path = next((one for one in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz") if one.is_file()), None)
    if path is None:
        raise HistoryError(f"{folder}: neither {name}.jsonl nor {name}.jsonl.gz is there")
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8-sig") if path.suffix == ".gz" else path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):  # noqa: B007 - an error names it
                if line.strip():
                    yield read(_object(line))
    except KeyError as error:
        raise HistoryError(f"{path}, line {number}: field {error} is missing") from error
    except (ValueError, TypeError, OverflowError, OSError, EOFError, zlib.error) as error:
        raise HistoryError(f"{path}, line {number}: {error}") from error


def _object(line: str) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise TypeError("not a JSON object")
    return row


def cents(value: object, name: str) -> int:
    """An amount in minor units: a whole number, also where a writer made it 1000.0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError(f"{name} is {value!r}, not a whole number of minor units")
    return int(value)


def _day(value: object) -> date | None:
    return date.fromisoformat(str(value)) if value else None


def _account(value: object) -> str | None:
    """An account number as it is compared: without spaces, in upper case."""
    return "".join(str(value).split()).upper() if value else None


def _customer(row: dict[str, Any]) -> Customer:
    ibans = [_account(one) for one in row.get("ibans") or ()]
    return Customer(
        row["id"],
        str(row["number"]),
        str(row["name"] or ""),
        row["currency"],
        [one for one in ibans if one],
        _account(row.get("viban")),
        row.get("parent") or None,
    )


def _invoice(row: dict[str, Any]) -> OpenItem:
    amount = cents(row["amount_cents"], "amount_cents")
    if row["type"] not in {"invoice", "credit_note"} or (amount < 0) != (row["type"] == "credit_note"):
        raise ValueError(f"type is {row['type']!r} and amount_cents {amount}: an invoice is above zero, a credit note below")
    issued = date.fromisoformat(row["issue_date"])
    return OpenItem(
        row["id"], row["customer_id"], str(row["number"]), row["currency"], issued,
        _day(row.get("due_date")) or issued,  # without a day it is due at once
        amount, amount, (fold(str(row["order_no"])),) if row.get("order_no") else (),
        fold(str(row["structured_ref"])) if row.get("structured_ref") else None, float(row.get("discount_pct") or 0),
        _day(row.get("discount_until")),
    )  # fmt: skip


def _payment(row: dict[str, Any]) -> Clues:
    sent = row.get("instructed_amount") or {}
    lines = row.get("remittance") or []
    if not isinstance(lines, list):
        raise TypeError("remittance is not a list")
    amount = cents(row["amount_cents"], "amount_cents")
    if amount <= 0:
        raise ValueError(f"amount_cents is {amount}, not above zero")
    end_to_end = row.get("end_to_end_id")
    return Clues(
        row["id"], date.fromisoformat(row["booking_date"]), amount, row["currency"], _account(row.get("creditor_account")),
        row.get("debtor_name") or None, _account(row.get("debtor_iban")),
        str(end_to_end) if end_to_end and end_to_end != "NOTPROVIDED" else None,
        fold(str(row["structured_ref"])) if row.get("structured_ref") else None, [str(one) for one in lines if one is not None],
        cents(sent["amount_cents"], "instructed_amount") if sent else None, sent.get("currency"),
    )  # fmt: skip


def _truth(row: dict[str, Any]) -> Truth:
    lines = [
        TrueLine(one["invoice_id"], cents(one["cents"], "cents"), cents(one.get("diff_cents") or 0, "diff_cents"), one.get("reason"))
        for one in row["allocations"]
    ]
    return Truth(
        row["payment_id"],
        row["kind"],
        row.get("customer_id"),
        lines,
        cents(row.get("unapplied_cents") or 0, "unapplied_cents"),
        bool(row.get("no_reference")),
    )
