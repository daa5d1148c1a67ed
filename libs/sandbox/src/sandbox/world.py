"""A company's world by seed: one seller, its customers, and what all of them do on every day.

Pure generation. Invariants: the same arguments give the same world, in any process; nobody acts on a document before it
exists; transfers fall on working days unless they are instant; no two transfers share an end-to-end id.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from random import Random

from sandbox import names
from sandbox.actions import (
    Action,
    BadDocument,
    Behaviour,
    BureauNews,
    Cancellation,
    Channel,
    Customer,
    Day,
    Dispute,
    Document,
    Fault,
    Line,
    Party,
    Promise,
    Resolution,
    Return,
    Seller,
    Transfer,
)
from sandbox.behaviour import Treatment, split_gross, tax_on, treat
from sandbox.chance import chance
from sandbox.identifiers import COUNTRIES, company_numbers, creditor_reference, virtual_iban
from sandbox.identifiers import make_iban as new_iban
from sandbox.transfers import Meant, returns, transfers

DEFAULT_START = date(2026, 1, 5)
_BEHAVIOURS: Mapping[Behaviour, int] = {"prompt": 42, "slow": 17, "partial": 9, "sloppy": 13, "disputer": 7, "promiser": 9, "failing": 3}
_COUNTRY_SHARES = (60, 12, 12, 8, 8)
_LANGUAGES = {"FR": ("fr",), "DE": ("de",), "BE": ("fr", "nl"), "NL": ("nl",), "ES": ("es",)}
_PRODUCTS = ("Brackets", "Housings", "Seals", "Bearings", "Panels", "Fittings", "Maintenance", "Calibration")
_FRENCH_RATES = (2000, 2000, 2000, 1000, 550)
_DAILY_INVOICES = 5000 / (300 * 90)
SATURDAY = 5
_CHANNELS: tuple[tuple[float, Channel], ...] = ((0.2, "ubl"), (0.3, "cii"), (0.4, "facturx"), (0.5, "csv"))
_BAD_CHANNELS: tuple[Channel, ...] = ("json", "ubl", "facturx", "cii")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The whole of it. `days` are consecutive, the first is the go-live with the opening items."""

    seed: int
    seller: Seller
    stranger: Party
    """A seller that is none of ours; some bad documents come from it."""
    customers: tuple[Customer, ...]
    days: tuple[Day, ...]

    def customer(self, number: str) -> Customer:
        """The customer of this number. Raises KeyError."""
        return next(customer for customer in self.customers if customer.number == number)

    def documents(self) -> Iterator[Document]:
        """Every good document in its first version, in order of sending."""
        for day in self.days:
            yield from day.documents


def generate(*, seed: int, customers: int = 300, days: int = 90, start: date = DEFAULT_START, invoices: int | None = None) -> World:
    """The world of `seed`. `invoices` defaults to 5,000 for 300 customers and 90 days, in proportion.

    Raises ValueError for fewer than one customer or day.
    """
    if customers < 1 or days < 1:
        raise ValueError("a world needs at least one customer and one day")
    wanted = max(1, round(customers * days * _DAILY_INVOICES)) if invoices is None else invoices
    people = tuple(_customer(seed, index) for index in range(customers))
    agenda = _Agenda(start, start + timedelta(days=days - 1))
    first_action = start + timedelta(days=1)
    meant: list[Meant] = []
    for document, customer in _invoices(seed, people, start, days, wanted):
        rng = chance("treatment", seed, document.number)
        agenda.add(max(document.issue_date, start), document)
        if document.origin == "issued" and rng.random() < 0.01:  # noqa: PLR2004 - one in a hundred is withdrawn
            agenda.add(document.issue_date + timedelta(days=2), Cancellation(number=document.number, reason="entered twice"))
            continue
        current = document
        if document.origin == "issued" and document.channel == "json" and rng.random() < 0.015:  # noqa: PLR2004 - and some are put off
            current = _put_off(document)
            agenda.add(document.issue_date + timedelta(days=3), current)
        earliest = max(first_action, document.issue_date + timedelta(days=4))
        treatment = treat(current, customer.behaviour, rng, first_day=earliest, breaks_on=_breaks_on(seed, customer, start, days))
        meant += [Meant(document=current, part=part) for part in treatment.parts]
        _talk(agenda, current, treatment, seed)
    for day, transfer in transfers(seed, meant, {customer.number: customer for customer in people}):
        agenda.add(day, transfer)
    for day, gone in returns(seed, agenda.transfers()):
        agenda.add(day, gone)
    for day, bad in _bad_documents(seed, people, start, days, wanted):
        agenda.add(day, bad)
    for customer in people:
        if customer.behaviour == "failing":
            agenda.add(_breaks_on(seed, customer, start, days), BureauNews(customer_number=customer.number, score=12))
    return World(
        seed=seed, seller=_seller(seed), stranger=_party("FR", chance("stranger", seed)), customers=people, days=tuple(agenda.days())
    )


class _Agenda:
    """Actions by day; what falls after the last day never happens."""

    _PLACES: Mapping[type[Action], str] = {
        Document: "documents",
        Cancellation: "cancellations",
        BadDocument: "bad_documents",
        Transfer: "transfers",
        Return: "returns",
        Dispute: "disputes",
        Resolution: "resolutions",
        Promise: "promises",
        BureauNews: "bureau_news",
    }

    def __init__(self, first: date, last: date) -> None:
        self._first, self._last = first, last
        self._actions: dict[date, dict[str, list[Action]]] = defaultdict(lambda: defaultdict(list))

    def add(self, day: date, action: Action) -> None:
        if day > self._last:
            return
        place = self._PLACES[type(action)]
        if isinstance(action, Document) and action.version > 1:
            place = "changes"
        self._actions[day][place].append(action)

    def transfers(self) -> list[tuple[date, Transfer]]:
        return [
            (day, action) for day in sorted(self._actions) for action in self._actions[day]["transfers"] if isinstance(action, Transfer)
        ]

    def days(self) -> Iterable[Day]:
        for offset in range((self._last - self._first).days + 1):
            day = self._first + timedelta(days=offset)
            yield Day(date=day, **{place: tuple(actions) for place, actions in self._actions[day].items()})  # type: ignore[arg-type]  # one type per place


def _talk(agenda: _Agenda, invoice: Document, treatment: Treatment, seed: int) -> None:
    """Disputes, resolutions with their credit notes, promises."""
    if treatment.promise:
        agenda.add(*treatment.promise)
    if treatment.dispute and treatment.resolution:
        agenda.add(*treatment.dispute)
        agenda.add(*treatment.resolution)
        day, resolution = treatment.resolution
        if resolution.resolution == "justified":
            agenda.add(day, _credit_note(invoice, treatment.dispute[1].amount_minor, day, seed))


def _seller(seed: int) -> Seller:
    rng = chance("seller", seed)
    branch = rng.randrange(100_000)
    accounts = tuple((currency, virtual_iban("FR", branch, 99_999_999_900 + index)) for index, currency in enumerate(("EUR", "USD")))
    return Seller(party=_party("FR", rng), accounts=accounts)


def _party(country: str, rng: Random) -> Party:
    numbers = company_numbers(country, rng)
    street, postcode, city = names.place(country, rng)
    return Party(
        name=names.company_name(country, rng),
        country=country,
        company_ids=((numbers.scheme, numbers.number),) if numbers.scheme and numbers.number else (),
        vat_id=numbers.vat_id,
        street=street,
        postcode=postcode,
        city=city,
    )


def _customer(seed: int, index: int) -> Customer:
    rng = chance("customer", seed, index)
    number = f"C{index + 1:05d}"
    country = rng.choices(COUNTRIES, _COUNTRY_SHARES)[0]
    # The rarer kinds come first by number, so that a small world has one of each.
    kinds: tuple[Behaviour, ...] = ("failing", "promiser", "disputer", "sloppy", "partial", "slow", "prompt")
    behaviour = kinds[index] if index < len(kinds) else rng.choices(tuple(_BEHAVIOURS), tuple(_BEHAVIOURS.values()))[0]
    currency = "USD" if index >= len(kinds) and rng.random() < 0.02 else "EUR"  # noqa: PLR2004 - two in a hundred
    return Customer(
        number=number,
        party=_party(country, rng),
        currency=currency,
        language=rng.choice(_LANGUAGES[country]),
        email=names.mailbox(number, rng),
        iban=new_iban(country, rng),
        behaviour=behaviour,
        payment_terms_days=rng.choice((10, 14, 14, 30, 30, 30, 45)),
        pays_to="virtual_iban" if currency == "EUR" and rng.random() < 0.6 else "account",  # noqa: PLR2004 - six in ten have their own
        collects=behaviour in {"sloppy", "slow"} and rng.random() < 0.5,  # noqa: PLR2004 - half of those
    )


def _breaks_on(seed: int, customer: Customer, start: date, days: int) -> date:
    """The day on which a failing customer stops paying: in the second quarter of the simulation."""
    return start + timedelta(days=chance("breaks", seed, customer.number).randint(days // 4, days // 2))


def _invoices(seed: int, people: tuple[Customer, ...], start: date, days: int, wanted: int) -> Iterator[tuple[Document, Customer]]:
    """Exactly `wanted` invoices: one in twelve is an opening item, the others are issued on working days."""
    rng = chance("invoices", seed)
    weights = [rng.uniform(0.3, 2.0) for _ in people]
    openings = wanted // 12
    issue_days = [start - timedelta(days=rng.randint(10, 50)) for _ in range(openings)]
    working = [day for offset in range(days) if (day := start + timedelta(days=offset)).weekday() < SATURDAY] or [start]
    issue_days += sorted(rng.choices(working, k=wanted - openings))
    for index, (day, customer) in enumerate(zip(issue_days, rng.choices(people, weights, k=wanted), strict=True)):
        yield _invoice(seed, index, day, customer, opening=index < openings), customer


def _invoice(seed: int, index: int, day: date, customer: Customer, *, opening: bool) -> Document:
    number = f"F{day.year}-{index + 1:06d}"
    rng = chance("invoice", seed, number)
    lines = tuple(
        Line(text=rng.choice(_PRODUCTS), quantity=rng.randint(1, 20), price_minor=rng.randint(500, 40_000))
        for _ in range(rng.randint(1, 4))
    )
    net = sum(line.net_minor for line in lines)
    tax_bp = rng.choice(_FRENCH_RATES) if customer.party.country == "FR" else 0
    tax = tax_on(net, tax_bp)
    prepaid = (net + tax) * rng.randint(10, 30) // 100 if not opening and rng.random() < 0.03 else 0  # noqa: PLR2004 - three in a hundred
    payable = net + tax - prepaid
    due = day + timedelta(days=customer.payment_terms_days)
    in_two = not opening and rng.random() < 0.03  # noqa: PLR2004 - three in a hundred
    instalments = ((due, payable // 2), (due + timedelta(days=15), payable - payable // 2)) if in_two else ((due, payable),)
    return Document(
        number=number,
        version=1,
        kind="invoice",
        origin="opening" if opening else "issued",
        customer_number=customer.number,
        issue_date=day,
        currency=customer.currency,
        lines=lines,
        tax_bp=tax_bp,
        net_minor=net,
        tax_minor=tax,
        total_minor=net + tax,
        prepaid_minor=prepaid,
        payable_minor=payable,
        instalments=instalments,
        channel=_channel(rng.random()) if not opening and not in_two else "json",
        payment_reference=creditor_reference(number) if rng.random() < 0.5 else None,  # noqa: PLR2004 - half of them
        order_number=f"PO-{rng.randint(10_000, 99_999)}" if rng.random() < 0.4 else None,  # noqa: PLR2004 - four in ten
        open_minor=(payable * rng.randint(40, 80) // 100 if rng.random() < 0.1 else payable) if opening else None,  # noqa: PLR2004 - a tenth
        own_virtual_iban=not opening and customer.currency == "EUR" and rng.random() < 0.02,  # noqa: PLR2004 - two in a hundred
    )


def _channel(drawn: float) -> Channel:
    """One in five as UBL, one in ten each as CII, as Factur-X and in a CSV file, the rest by the API."""
    return next((channel for below, channel in _CHANNELS if drawn < below), "json")


def _put_off(document: Document) -> Document:
    """The next version: every due date fifteen days later."""
    later = tuple((due + timedelta(days=15), amount) for due, amount in document.instalments)
    return replace(document, version=document.version + 1, instalments=later)


def _credit_note(invoice: Document, amount: int, day: date, seed: int) -> Document:
    net, tax = split_gross(amount, invoice.tax_bp)
    return replace(
        invoice,
        number=f"A{day.year}-{invoice.number.removeprefix('F').replace('-', '')}",
        version=1,
        kind="credit_note",
        origin="issued",
        issue_date=day,
        lines=(Line(text="Credit as agreed", quantity=1, price_minor=net),),
        net_minor=net,
        tax_minor=tax,
        total_minor=net + tax,
        prepaid_minor=0,
        payable_minor=net + tax,
        instalments=((day, net + tax),),
        channel=chance("credit", seed, invoice.number).choice(("json", "ubl", "cii", "facturx")),
        payment_reference=None,
        credited_number=invoice.number,
        open_minor=None,
        own_virtual_iban=False,
    )


def _bad_documents(seed: int, people: tuple[Customer, ...], start: date, days: int, wanted: int) -> Iterator[tuple[date, BadDocument]]:
    rng = chance("bad", seed)
    faults: tuple[Fault, ...] = ("bad_sum", "missing_field", "unknown_seller")
    for index in range(6 + wanted // 250):
        day = start + timedelta(days=rng.randrange(days))
        document = replace(
            _invoice(seed, 900_000 + index, day, rng.choice(people), opening=False),
            channel=_BAD_CHANNELS[index // len(faults) % len(_BAD_CHANNELS)],
            own_virtual_iban=False,
        )
        yield day, BadDocument(document=document, fault=faults[index % len(faults)])
