"""Compares what the services say with what the world knows, to the cent.

Invariant: nothing here trusts a total; it adds up single payments and single items as matching's API lists them, and
compares sums by currency with what the bank has carried and the ERP has sent.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.demo.play import Play
from sandbox.demo.stage import Services

Sums = dict[str, Counter[str]]
_SETTLED = ("cash_minor", "discount_minor", "credit_minor", "charges_minor", "withheld_minor", "set_off_minor", "written_off_minor")


@dataclass
class Books:
    """Sums by currency of payments and of items, and what does not fit."""

    payments: Sums = field(default_factory=dict)
    items: Sums = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    unequal: list[str] = field(default_factory=list)
    unknown_items: list[str] = field(default_factory=list)


async def read_books(services: Services) -> Books:
    """Every payment and every item of the tenant, as matching lists them."""
    books = Books()
    async for payment in services.matching.pages("/v1/payments"):
        add_payment(books, payment)
    async for item in services.matching.pages("/v1/open-items"):
        add_item(books, item)
    return books


def add_payment(books: Books, payment: Mapping[str, Any]) -> None:
    """Adds one payment; notes it where its parts are not its amount."""
    sums = books.payments.setdefault(payment["currency"], Counter())
    parts = {name: payment[f"{name}_minor"] for name in ("allocated", "unapplied", "returned", "refunded")}
    if sum(parts.values()) != payment["amount_minor"]:
        books.unequal.append(f"payment {payment['payment_id']}: {payment['amount_minor']} is not {parts}")
    sums.update({"received": payment["amount_minor"], "count": 1, **parts})
    books.statuses[payment["status"]] += 1


def add_item(books: Books, item: Mapping[str, Any]) -> None:
    """Adds one item; notes it where open and settled are not its amount."""
    kind = "cancelled" if item.get("close_cause") == "cancelled" else "credit_notes" if item["kind"] == "credit_note" else "invoices"
    sums = books.items.setdefault(item["currency"], Counter())
    settled = sum(item[name] for name in _SETTLED)
    if item["open_minor"] + settled != item["original_minor"]:
        books.unequal.append(
            f"item {item['invoice_number']}: {item['original_minor']} is not open {item['open_minor']} and settled {settled}"
        )
    sums.update(
        {f"{kind}_issued": item["original_minor"], f"{kind}_open": item["open_minor"], f"{kind}_settled": settled, f"{kind}_count": 1}
    )
    sums["cash"] += item["cash_minor"]


def compare(books: Books, play: Play) -> dict[str, bool | str]:
    """The play's own invariants: name to True, or what is wrong."""
    found: dict[str, bool | str] = {}
    for currency, bank in play.banks.items():
        paid, items = books.payments.get(currency, Counter()), books.items.get(currency, Counter())
        expected = bank.received_minor
        found[f"sandbox.every_cent_received_{currency}"] = _same("the bank carried", expected, "matching lists", paid["received"])
        found[f"sandbox.every_cent_returned_{currency}"] = _same(
            "the bank took back", bank.returned_minor, "matching says returned", paid["returned"]
        )
        parts = paid["allocated"] + paid["unapplied"] + paid["returned"] + paid["refunded"]
        found[f"sandbox.every_cent_has_a_place_{currency}"] = _same(
            "the bank carried", expected, "allocated, unapplied, returned, refunded", parts
        )
        found[f"sandbox.cash_on_items_is_allocated_{currency}"] = _same("settled by cash", items["cash"], "allocated", paid["allocated"])
        for kind, name in (("invoice", "invoices"), ("credit_note", "credit_notes")):
            issued = sum(
                each.owed_minor
                for each in play.told.documents.values()
                if each.kind == kind and each.currency == currency and each.number not in play.told.cancelled
            )
            listed = items[f"{name}_issued"]
            found[f"sandbox.{name}_issued_{currency}"] = _same("the ERP issued", issued, "items say", listed)
            rest = items[f"{name}_open"] + items[f"{name}_settled"]
            found[f"sandbox.{name}_are_open_or_settled_{currency}"] = _same("the ERP issued", issued, "open and settled", rest)
    found["sandbox.each_payment_and_item_adds_up"] = not books.unequal or "; ".join(books.unequal[:5])
    found["sandbox.what_is_right_is_taken_and_what_is_wrong_refused"] = (
        not play.told.wrong or f"{len(play.told.wrong)} times: {'; '.join(play.told.wrong[:5])}"
    )
    return found


def _same(what: str, left: int, other: str, right: int) -> bool | str:
    return left == right or f"{what} {left}, {other} {right} (minor units): {right - left:+d}"
