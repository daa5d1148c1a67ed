"""A bank tells of the same money in many ways: at once, by day, of several days, in two formats, in any order, again and again."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

from bankdays import Bank, money
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from shared.ids import new_id

FIRST = date(2026, 3, 2)
DAYS = 3


@dataclass(frozen=True)
class Entry:
    """What happened on the account. `bank`: whether there is a reference of its; `payer`: his EndToEndId, which he may use again.

    `early`: the advice is of the day before.
    """

    at: int
    day: int
    amount: int
    bank: bool
    payer: str | None
    early: bool

    @property
    def text(self) -> str:
        return f"FA-{self.amount}"

    def camt(self, bank: Bank, *, advice: bool) -> str:
        more = {"ref": f"B{self.at}"} if self.bank else {}
        more |= {"e2e": self.payer} if self.payer else {}
        return bank.entry(self.amount, text=self.text, day=on(self.day - (advice and self.early)).isoformat(), **more)

    def swift(self) -> str:
        day, sign = on(self.day), "C" if self.amount > 0 else "D"
        reference = f"EREF+{self.payer or 'NOTPROVIDED'}"
        return (
            f":61:{day:%y%m%d}{day:%m%d}{sign}{money(abs(self.amount)).replace('.', ',')}NTRFNONREF\r\n"
            f":86:166?00GUTSCHRIFT?20{reference}?21SVWZ+RECHNUNG {self.text}\r\n"
        )


AMOUNTS = st.sampled_from((1_000, 1_000, 2_500, -300))
PAYERS = st.one_of(st.none(), st.integers(0, 1).map("RENT{}".format), st.integers(10, 10_000).map("E{}".format))
ENTRIES = st.lists(st.tuples(st.integers(0, DAYS - 1), AMOUNTS, st.booleans(), PAYERS, st.booleans()), min_size=1, max_size=6).map(
    lambda rows: [Entry(at, *row) for at, row in enumerate(rows)]
)
KINDS = ("054", "052", "053", "940", "940 in pages", "942", "053 of all", "940 of all")
FILES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, DAYS - 1)), max_size=9)
ENDS = st.lists(st.sampled_from(("053", "940", "both")), min_size=DAYS, max_size=DAYS)
"""In which format each day's statement comes in any case."""


def on(day: int) -> date:
    return FIRST + timedelta(days=day)


def camt(bank: Bank, kind: str, first: int, last: int, entries: list[Entry]) -> bytes:
    lines = [one.camt(bank, advice=kind == "054") for one in entries if first <= one.day <= last and (kind != "054" or one.amount > 0)]
    opening = sum(one.amount for one in entries if one.day < first)
    closing = sum(one.amount for one in entries if one.day <= last)
    more = {"kind": "054" if kind == "054" else "053", "day": on(last).isoformat(), "number": 100 * first + last + 1}
    data = bank.camtfile.statement(bank.held.iban, money(opening), money(closing), *lines, **more).decode()
    if kind == "052":
        data = data.replace("BkToCstmrStmt", "BkToCstmrAcctRpt").replace("Stmt>", "Rpt>").replace("053.001", "052.001")
    return data.encode()


def swift(bank: Bank, kind: str, first: int, last: int, entries: list[Entry]) -> bytes:
    lines = "".join(one.swift() for one in entries if first <= one.day <= last)
    opening = sum(one.amount for one in entries if one.day < first)
    closing = sum(one.amount for one in entries if one.day <= last)

    def balance(tag: str, day: date, minor: int) -> str:
        return f":{tag}:{'C' if minor >= 0 else 'D'}{day:%y%m%d}EUR{money(abs(minor)).replace('.', ',')}\r\n"

    head = f":20:X\r\n:25:{bank.held.iban}\r\n:28C:{100 * first + last + 1:05}/001\r\n"
    if kind == "942":
        return f"{head}:34F:EURC0,\r\n:13D:{on(last):%y%m%d}1200+0100\r\n{lines}-\r\n".encode()
    return f"{head}{balance('60F', on(first) - timedelta(days=1), opening)}{lines}{balance('62F', on(last), closing)}-\r\n".encode()


def pages(bank: Bank, kind: str, first: int, last: int, entries: list[Entry]) -> bytes:
    """A day's statement in two pages, or one where there is one entry."""
    mine = [one for one in entries if first <= one.day <= last]
    parts = [part for part in (mine[: len(mine) // 2], mine[len(mine) // 2 :]) if part]
    told, before = b"", [one for one in entries if one.day < first]
    for part in parts:
        told += swift(bank, "940", first, last, [*before, *part])
        before = [*before, *(replace(one, day=first - 1) for one in part)]
    return told


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.explain})
@given(entries=ENTRIES, files=FILES, ends=ENDS, order=st.randoms())
async def test_each_entry_is_one_however_often_and_in_whatever_way_it_is_told(world, camtfile, client_of, entries, files, ends, order):
    tenant = new_id()
    bank = Bank(world, await client_of(tenant), await world.account(tenant), camtfile)
    told = {(kind.removesuffix(" of all"), *((0, DAYS - 1) if "all" in kind else (day, day))) for kind, day in files}
    told |= {(kind, day, day) for day, end in enumerate(ends) for kind in (("053", "940") if end == "both" else (end,))}
    sent = sorted(told) * 2
    order.shuffle(sent)
    for kind, first, last in sent:
        write = {"940": swift, "942": swift, "940 in pages": pages}.get(kind, camt)
        if any(first <= one.day <= last for one in entries):
            await bank.again([write(bank, kind, first, last, entries)])
    bank.balance, bank.day = sum(one.amount for one in entries), on(DAYS - 1)
    await bank.goes_on()
    came, went = (sorted(one.amount for one in entries if (one.amount > 0) == sign) for sign in (True, False))
    rows = await world.rows(tenant, "SELECT amount_minor FROM payment WHERE confirmation = 'booked' ORDER BY 1")
    assert [row[0] for row in rows] == came, (sent, entries)
    moved = await world.rows(tenant, "SELECT amount_minor FROM movement ORDER BY 1")
    assert [row[0] for row in moved] == went, (sent, entries)
    await world.holds()
