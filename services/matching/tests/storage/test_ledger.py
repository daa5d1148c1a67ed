"""The sub-ledger's export: balanced, complete, in the form and the currency that is asked for."""

import csv
import io
import itertools
from datetime import UTC, date, datetime
from decimal import Decimal

from bankdays import Bank
from contracts.customers import CustomerChanged
from handwork import limit, refunded
from matching.domain.ledger import letters
from matching.storage.ledger import Rate, set_rates
from shared.clock import machine_now
from shared.days import business_day
from shared.ids import new_id
from shared.testing.events import context, message

_KEYS = itertools.count()


async def post(client, path, body, key=None):
    return await client.post(path, json=body, headers={"idempotency-key": key or f"g{next(_KEYS)}"})


async def busy(world, tenant, make, client):
    """A little of everything that moves the ledger."""
    held = await world.account(tenant)
    await limit(client, tenant, make, 100_000)
    await world.feed(
        make.invoice(tenant, "F-1", 100_000, reference="REF000001"),
        make.invoice(tenant, "=F-2", 50_000),
        make.invoice(tenant, "F-3", 20_000),
        make.invoice(tenant, "A-1", 5_000, cls=make.Credit, credited_invoice_id=make.invoice_id(tenant, "F-3")),
    )
    await world.pay(held, 100_000, "REF000001", number=1)
    payment = await world.pay(held, 60_000, number=2, debtor_name="Dupont", debtor_iban="DE89370400440532013000")
    await world.match(tenant)
    line = {"item_id": str(make.invoice_id(tenant, "=F-2")), "amount_minor": 49_000, "difference_minor": 1_000, "reason": "discount"}
    assert (await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})).status_code == 200
    assert (
        await post(client, "/v1/refunds", {"payment_id": str(payment), "reason": "too much", "amount_minor": 11_000})
    ).status_code == 201
    cash = {
        "kind": "cash",
        "entity_id": str(make.entity_id(tenant)),
        "customer_id": str(make.customer_id(tenant, "C1")),
        "currency": "EUR",
        "value_date": "2026-03-02",
        "proof": {"reference": "N-1"},
        "lines": [{"item_id": str(make.invoice_id(tenant, "F-3")), "amount_minor": 10_000}],
    }
    assert (await post(client, "/v1/settlements", cash)).status_code == 201
    written = {"item_id": str(make.invoice_id(tenant, "F-3")), "reason": "uncollectible"}
    assert (await post(client, "/v1/write-offs", written)).status_code == 201
    await world.holds()


async def exported(client, make, tenant, **query):
    params = {"entity_id": str(make.entity_id(tenant)), "first": "2026-01-01", "last": "2036-12-31", **query}
    answer = await client.get("/v1/ledger-export", params=params)
    assert answer.status_code == 200, answer.text
    return answer


async def lettered(client, make, tenant, last):
    """The lettered lines of a FEC by account and first document: document, debit less credit, day; and all of its rows."""
    answer = await exported(client, make, tenant, format="fec", last=last)
    rows = list(csv.DictReader(io.StringIO(answer.content.decode()), delimiter="\t"))
    assert all(bool(row["EcritureLet"]) == bool(row["DateLet"]) for row in rows)
    found = {}
    for row in rows:
        signed = Decimal(row["Debit"].replace(",", ".")) - Decimal(row["Credit"].replace(",", "."))
        if row["EcritureLet"]:
            found.setdefault((row["CompteNum"], row["EcritureLet"]), []).append((row["PieceRef"], signed, row["DateLet"]))
    return {key[0] + " " + lines[0][0]: lines for key, lines in found.items()}, rows


async def test_the_fec_has_its_eighteen_columns_and_is_balanced_entry_by_entry(world, tenant, make, client):
    await busy(world, tenant, make, client)
    answer = await exported(client, make, tenant, format="fec", siren="732829320")
    assert answer.headers["content-disposition"] == 'attachment; filename="732829320FEC20361231.txt"'
    rows = [line.split("\t") for line in answer.content.decode().split("\r\n") if line]
    assert rows[0] == [
        *("JournalCode", "JournalLib", "EcritureNum", "EcritureDate", "CompteNum", "CompteLib", "CompAuxNum", "CompAuxLib", "PieceRef"),
        *("PieceDate", "EcritureLib", "Debit", "Credit", "EcritureLet", "DateLet", "ValidDate", "Montantdevise", "Idevise"),
    ]
    assert {len(row) for row in rows} == {18}
    entries = {}
    for row in rows[1:]:
        debit, credit = (Decimal(row[at].replace(",", ".")) for at in (11, 12))
        entries.setdefault(int(row[2]), []).append(debit - credit)
        assert row[3] == row[15] >= "20260302"
        assert row[4][:3].isdigit()
        assert row[8]
    assert list(entries) == list(range(1, len(entries) + 1))
    assert all(sum(sides) == 0 and len(sides) == 2 for sides in entries.values())
    by_account = {}
    for row in rows[1:]:
        by_account[row[4]] = by_account.get(row[4], 0) + Decimal(row[11].replace(",", ".")) - Decimal(row[12].replace(",", "."))
    assert by_account["512000"] == 1_600  # the bank: two payments, the refund is not booked yet
    assert by_account["530000"] == 100
    assert by_account["467000"] == -110
    assert by_account["665000"] == 10
    assert by_account["654000"] == 50
    assert sum(by_account.values()) == 0


async def test_what_a_customer_paid_for_another_leaves_each_with_his_own_balance(world, tenant, make, client):
    held = await world.account(tenant)
    for number in ("C1", "C2"):
        said = {"source_system": "erp", "customer_number": number, "status": "confirmed"}
        await world.feed(message(tenant, CustomerChanged(version=1, customer_id=make.customer_id(tenant, number), **said)))
    await world.feed(make.invoice(tenant, "F-1", 7_000), make.invoice(tenant, "F-2", 50_000, customer="C2"))
    payment = await world.pay(held, 60_000)
    await world.match(tenant)
    body = {
        "customer_id": str(make.customer_id(tenant, "C1")),
        "lines": [{"item_id": str(make.invoice_id(tenant, "F-2")), "amount_minor": 50_000}],
    }
    assert (await post(client, f"/v1/payments/{payment}/allocations", body)).status_code == 200
    rows = list(csv.DictReader(io.StringIO((await exported(client, make, tenant)).content.decode())))
    sums = {}
    for row in rows:
        key = row["ledger"], row["customer_number"]
        sums[key] = sums.get(key, 0) + Decimal(row["debit"]) - Decimal(row["credit"])
    assert sums == {("bank", ""): 600, ("unapplied", "C1"): -100, ("receivables", "C2"): -500}
    balances = await world.rows(tenant, "SELECT unapplied_minor FROM account_balance ORDER BY 1")
    assert [row[0] for row in balances] == [0, 10_000]


async def test_the_csv_says_the_same_in_any_currency_and_is_no_formula(world, tenant, make, client):
    await busy(world, tenant, make, client)
    await world.feed(make.invoice(tenant, "K-1", 12_345, currency="KWD", reference="REFKWD001"))
    held = await world.account(tenant, "GB33BUKB20201555555555", currency="KWD")
    await world.pay(held, 12_345, "REFKWD001", number=9)
    await world.match(tenant)
    rows = list(csv.DictReader(io.StringIO((await exported(client, make, tenant)).content.decode())))
    assert {row["debit"] for row in rows if row["currency"] == "KWD"} == {"12.345", "0.000"}
    assert {row["document"] for row in rows if "F-2" in row["document"]} == {"'=F-2"}
    for currency in ("EUR", "KWD"):
        assert sum(Decimal(row["debit"]) - Decimal(row["credit"]) for row in rows if row["currency"] == currency) == 0
    count = (await world.one(tenant, "SELECT count(*) FROM ledger_entry WHERE debit <> 'billed' AND credit <> 'billed'"))[0]
    assert len(rows) == 2 * count
    params = {"entity_id": str(make.entity_id(tenant)), "first": "2026-01-01", "last": "2036-12-31", "format": "fec"}
    assert (await client.get("/v1/ledger-export", params={**params, "last": "2025-01-01"})).status_code == 422
    assert (await client.get("/v1/ledger-export", params={**params, "siren": "732829321"})).status_code == 422
    empty = await exported(client, make, tenant, first="2025-01-01", last="2025-12-31", format="fec")
    assert empty.content.decode().count("\r\n") == 1


async def test_an_entry_is_of_the_business_day_on_which_it_was_made(world, tenant, make, client):
    held = await world.account(tenant)
    await world.feed(make.invoice(tenant, "F-1", 1_000, reference="REF000001"))
    await world.pay(held, 1_000, "REF000001")
    received = [m for m in await world.events("PaymentReceived") if m.tenant_id == tenant]
    late = context(datetime(2026, 6, 30, 22, 30, tzinfo=UTC))  # the 1st of July in Paris
    await world.handled(tenant, by=make.match, given=(received, late))
    for period, days in (
        ({"first": "2026-06-30", "last": "2026-06-30"}, set()),
        ({"first": "2026-07-01", "last": "2026-07-01"}, {"2026-07-01"}),
    ):
        text = (await exported(client, make, tenant, **period)).content.decode()
        assert {row["date"] for row in csv.DictReader(io.StringIO(text))} == days


async def test_what_is_settled_is_lettered_as_of_the_end_of_the_period(world, tenant, make, client):
    """Article A. 47 A-1: EcritureLet and DateLet; lines that share a letter, with the ERP's invoice, sum to nothing."""
    held = await world.account(tenant)
    await world.feed(
        make.invoice(tenant, "F-1", 1_000, reference="REF000001"),
        make.invoice(tenant, "F-2", 500, reference="REF000002"),
        make.invoice(tenant, "F-3", 300, reference="REF000003"),
        make.invoice(tenant, "A-3", 300, cls=make.Credit, credited_invoice_id=make.invoice_id(tenant, "F-3")),
    )
    for number, (amount, reference) in enumerate(((600, "REF000001"), (400, "REF000001"), (200, "REF000002"))):
        await world.pay(held, amount, reference, number=number)
    received = [m for m in await world.events("PaymentReceived") if m.tenant_id == tenant]
    first, *rest = sorted(received, key=lambda m: -m.data.amount_minor)
    await world.handled(tenant, by=make.match, given=([first], context(datetime(2026, 4, 1, 9, tzinfo=UTC))))
    await world.handled(tenant, by=make.match, given=(rest, context(datetime(2026, 4, 8, 9, tzinfo=UTC))))

    found, rows = await lettered(client, make, tenant, "2026-12-31")
    assert found == {
        "411000 F-1": [("F-1", -6, "20260408"), ("F-1", -4, "20260408")],  # and the invoice's 10.00
        "411000 F-3": [("F-3", -3, "20260302")],
        "411000 A-3": [("A-3", 3, "20260302")],
        "471000 B0": [("B0", -6, "20260401"), ("F-1", 6, "20260401")],
        "471000 B1": [("B1", -4, "20260408"), ("F-1", 4, "20260408")],
        "471000 B2": [("B2", -2, "20260408"), ("F-2", 2, "20260408")],
    }
    assert {(row["EcritureDate"], row["PieceDate"]) for row in rows if row["CompteNum"] == "512000"} == {("20260302", "20260302")}
    at_its_end, _ = await lettered(client, make, tenant, "2026-04-07")
    assert set(at_its_end) == {"411000 F-3", "411000 A-3", "471000 B0"}
    # an allocation that is undone ends it, in the periods after that
    assert (await post(client, f"/v1/payments/{first.data.payment_id}/unmatch", {"reason": "wrong_item"})).status_code == 200
    assert set((await lettered(client, make, tenant, "2036-12-31"))[0]) == {"411000 F-3", "411000 A-3", "471000 B1", "471000 B2"}
    assert (await lettered(client, make, tenant, "2026-04-30"))[0] == found


async def test_a_refund_is_lettered_once_the_bank_has_booked_it(world, tenant, make, client, camtfile):
    bank = Bank(world, client, await world.account(tenant), camtfile)
    end = await refunded(world, client, tenant, make, bank)
    assert (await lettered(client, make, tenant, "2036-12-31"))[0] == {}
    await bank.books((-600, {"ref": "D1", "e2e": end}))
    found, _ = await lettered(client, make, tenant, "2036-12-31")
    assert {name: [line[1] for line in lines] for name, lines in found.items()} == {"467000 B1": [-6, 6]}  # 4.00 are nobody's yet


def test_letters_go_on_after_z():
    assert [letters(number) for number in (1, 26, 27, 52, 53, 702, 703)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


async def test_an_entity_has_numbers_of_its_own_and_what_has_none_is_refused(world, tenant, make, client):
    held = await world.account(tenant)
    await limit(client, tenant, make, 10_000)
    await world.feed(make.invoice(tenant, "F-1", 1_000))
    payment = await world.pay(held, 900)
    await world.match(tenant)
    line = {"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 900, "difference_minor": 100, "reason": "withheld"}
    await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})
    params = {"entity_id": str(make.entity_id(tenant)), "first": "2026-01-01", "last": "2036-12-31"}
    refused = await client.get("/v1/ledger-export", params=params)
    assert (refused.status_code, refused.json()["detail"]) == (409, "without one: withheld")
    path = f"/v1/ledger-accounts/{make.entity_id(tenant)}"
    assert (await client.put(path, json={"accounts": {"nothing": {"number": "411", "label": "x"}}})).status_code == 422
    body = {"accounts": {"withheld": {"number": "445800", "label": "Retenues"}, "bank": {"number": "512100", "label": "BNP"}}}
    chart = (await client.put(path, json=body)).json()["accounts"]
    assert (chart["bank"]["number"], chart["receivables"]["number"]) == ("512100", "411000")
    rows = list(csv.DictReader(io.StringIO((await client.get("/v1/ledger-export", params=params)).content.decode())))
    assert {row["account"] for row in rows} == {"512100", "471000", "411000", "445800"}
    assert min(date.fromisoformat(row["date"]) for row in rows) == make.NOW.date()


async def foreign(world, tenant, make, client):
    """Dollars for a euro invoice at an agreed rate, dinars of three decimals and yen of none for invoices of their own."""
    await limit(client, tenant, make, 100_000)
    await world.feed(
        make.invoice(tenant, "F-1", 100_000),
        make.invoice(tenant, "K-1", 12_345, currency="KWD", reference="REFKWD001"),
        make.invoice(tenant, "J-1", 15_001, currency="JPY", reference="REFJPY001"),
    )
    came = (("KWD", 12_345, "REFKWD001"), ("JPY", 15_001, "REFJPY001"), ("USD", 108_000, None))
    for number, (currency, amount, reference) in enumerate(came):
        held = await world.account(tenant, f"FR76{number:023d}", currency=currency)
        payment = await world.pay(held, amount, reference, number=number)
    await world.match(tenant)
    exchange = {"item_amount_minor": 100_000, "rate": "0.9245", "rate_source": "ecb"}
    line = {"item_id": str(make.invoice_id(tenant, "F-1")), "amount_minor": 108_000, "exchange": exchange}
    assert (await post(client, f"/v1/payments/{payment}/allocations", {"lines": [line]})).status_code == 200


def rate(currency, first_day, value, source="ecb"):
    return {"currency": currency, "first_day": first_day, "rate": value, "source": source}


async def test_a_fec_values_other_currencies_at_the_accountants_rates_and_refuses_what_has_none(world, tenant, make, client):
    """LPF, article A. 47 A-1, VII: Montantdevise and Idevise are filled where an entry is in another currency, else left blank."""
    await foreign(world, tenant, make, client)
    params = {"entity_id": str(make.entity_id(tenant)), "first": "2026-01-01", "last": "2036-12-31", "format": "fec"}
    path = f"/v1/ledger-rates/{make.entity_id(tenant)}"
    refused = await client.get("/v1/ledger-export", params=params)
    assert (refused.status_code, refused.json()["code"]) == (409, "ledger-without-rate")
    assert all(f"{currency} on 2026-03-02" in refused.json()["detail"] for currency in ("JPY", "KWD", "USD"))
    today = business_day(machine_now()).isoformat()  # the day of what was done by hand
    given = [rate("USD", "2026-03-02", "0.925"), rate("USD", today, "0.93"), rate("JPY", "2026-01-30", "0.0061")]
    given += [rate("KWD", "2026-03-01", "3.0"), rate("KWD", "2026-03-03", "9")]
    assert (await client.put(path, json={"rates": given})).status_code == 200
    late = await client.get("/v1/ledger-export", params=params)
    assert late.json()["detail"].startswith("without one: JPY on 2026-03-02;"), late.text  # the rate is of 31 days before: too old
    assert (await client.put(path, json={"rates": [rate("JPY", "2026-01-31", "0.0061")]})).status_code == 200
    stored = (await client.get(path, params={"first": "2026-03-01", "last": "2026-03-02"})).json()["rates"]
    assert stored == [rate("KWD", "2026-03-01", "3"), rate("USD", "2026-03-02", "0.925")]
    answer = await client.get("/v1/ledger-export", params=params)
    assert answer.status_code == 200, answer.text
    rows = list(csv.DictReader(io.StringIO(answer.content.decode()), delimiter="\t"))
    entries = {}
    for row in rows:
        debit, credit = (Decimal(row[name].replace(",", ".")) for name in ("Debit", "Credit"))
        entries.setdefault(row["EcritureNum"], []).append(debit - credit)
    assert all(len(parts) == 2 and sum(parts) == 0 for parts in entries.values())
    told = {(r["CompteNum"], r["Debit"], r["Credit"], r["Montantdevise"], r["Idevise"]) for r in rows}
    assert {
        ("512000", "37,04", "0,00", "12,345", "KWD"),  # 37.035, half to even
        ("512000", "91,51", "0,00", "15001", "JPY"),  # 91.5061
        ("512000", "999,00", "0,00", "1080,00", "USD"),
        ("580000", "0,00", "1004,40", "1080,00", "USD"),
        ("411000", "0,00", "1000,00", "", ""),
        ("666000", "1,54", "0,00", "", ""),
    } <= told
    plain = await client.get("/v1/ledger-export", params={**params, "format": "csv"})
    assert {row["currency"] for row in csv.DictReader(io.StringIO(plain.content.decode()))} == {"EUR", "USD", "KWD", "JPY"}


async def test_what_is_no_rate_is_refused_with_its_place(tenant, make, client, second):
    path = f"/v1/ledger-rates/{make.entity_id(tenant)}"
    one = rate("USD", "2026-03-02", "0.925")
    for wrong, place in (
        ([rate("EUR", "2026-03-02", "1")], "/rates/0"),
        ([one, rate("JPY", "2026-03-02", "0.0000000000")], "/rates/1"),
        ([one, one], "/rates/1"),
        ([rate("USD", "2026-03-02", "-1")], "/rates/0/rate"),
        ([rate("USD", "2026-02-30", "1")], "/rates/0/first_day"),
        ([rate("XXX", "2026-03-02", "1")], "/rates/0/currency"),
        ([], "/rates"),
    ):
        answer = await client.put(path, json={"rates": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, place), answer.text
    assert (await second.put(path, json={"rates": [one]})).status_code == 403  # whoever sets rates needs bank:write
    assert (await client.get(path, params={"first": "0001-01-01", "last": "9999-12-31"})).json() == {"rates": []}


async def test_another_tenants_rates_value_nothing(world, tenant, make, client):
    await foreign(world, tenant, make, client)
    rates = [rate(currency, "2026-03-01", "1") for currency in ("USD", "JPY", "KWD")]
    async with world.database.transaction(other := new_id()) as conn:
        day = date(2026, 3, 1)
        await set_rates(conn, other, make.entity_id(tenant), [Rate(one["currency"], day, Decimal(1), "ecb") for one in rates])
    params = {"entity_id": str(make.entity_id(tenant)), "first": "2026-01-01", "last": "2036-12-31", "format": "fec"}
    assert (await client.get("/v1/ledger-export", params=params)).status_code == 409


async def test_an_export_of_an_entity_that_is_not_there_is_no_empty_file(world, tenant, make, client):
    await world.account(other := new_id())
    params = {"entity_id": str(make.entity_id(other)), "first": "2026-01-01", "last": "2026-12-31"}
    refused = await client.get("/v1/ledger-export", params=params)
    assert (refused.status_code, refused.json()["code"]) == (404, "entity-unknown")
    await world.account(tenant)  # of which nothing is booked yet
    empty = await client.get("/v1/ledger-export", params={**params, "entity_id": str(make.entity_id(tenant))})
    assert (empty.status_code, empty.text.count("\n")) == (200, 1)
