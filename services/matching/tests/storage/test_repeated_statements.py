"""One statement in files of two formats: neither texts nor references are the same there, and each entry is one all the same."""

import asyncio

import pytest
from bankdays import FIRST, Bank, job, post_file
from matching.handlers.slices import import_slices

DAY = FIRST.isoformat()


@pytest.fixture
async def bank(world, client, tenant, camtfile):
    return Bank(world, client, await world.account(tenant), camtfile)


def mt940(bank, opening, closing, *lines):
    booked = "".join(f":61:2603010301{sign}{amount}NTRFNONREF\r\n:86:{text}\r\n" for sign, amount, text in lines)
    head = f":20:X\r\n:25:{bank.held.iban}\r\n:28C:00001/001\r\n:60F:C260228EUR{opening}\r\n"
    return f"{head}{booked}:62F:C260301EUR{closing}\r\n-\r\n".encode()


async def booked(world, tenant):
    payments = await world.one(tenant, "SELECT count(*), coalesce(sum(amount_minor), 0) FROM payment WHERE confirmation = 'booked'")
    moved = await world.one(tenant, "SELECT count(*), coalesce(sum(amount_minor), 0) FROM movement")
    return *payments[:2], *moved[:2]


@pytest.mark.parametrize("first", ["camt", "mt940"])
async def test_a_statement_in_two_formats_is_booked_once(world, tenant, bank, first):
    async def camt():
        lines = [bank.entry(1_000, text="FA-1", ref="C1", day=DAY), bank.entry(2_000, text="FA-2", ref="C2", day=DAY)]
        return await bank.brings("053", "0.00", "29.00", *lines, bank.entry(-100, text="Commission", day=DAY))

    lines = ("C", "10,00", "VIREMENT DUPONT FA-1"), ("C", "20,00", "VIREMENT MARTIN FA-2"), ("D", "1,00", "FRAIS")
    bank.files.append(mt940(bank, "0,00", "29,00", *lines))
    if first == "mt940":
        await bank.again()
    await camt()
    await bank.again()
    assert await booked(world, tenant) == (2, 3_000, 1, -100)
    # the next one of the day is another one, in either format
    await bank.again([mt940(bank, "29,00", "39,00", ("C", "10,00", "VIREMENT DUPONT FA-3"))])
    await bank.brings("053", "29.00", "39.00", bank.entry(1_000, text="FA-3", ref="C3", day=DAY))
    assert await booked(world, tenant) == (3, 4_000, 1, -100)
    await world.holds()


async def test_a_statement_that_comes_again_with_other_texts_is_booked_once(world, tenant, bank):
    """As a program writes it anew, or as we read it by now; what the bank refers to otherwise is something else."""

    def told(first, *, number=1):
        lines = bank.entry(1_000, day=DAY, **first), bank.entry(2_000, text="FA-2", day=DAY)
        return bank.camtfile.statement(bank.held.iban, "0.00", "30.00", *lines, day=DAY, number=number)

    once = told({"text": "FA-1"})
    await bank.again([once, once.replace(b"FA-", b"FACTURE ")])
    assert await booked(world, tenant) == (2, 3_000, 0, 0)
    await bank.again([told({"text": "FA-1", "ref": "B1"})])
    assert await booked(world, tenant) == (3, 4_000, 0, 0)
    await bank.again([told({"text": "FA-1"}, number=2).replace(b"FA-", b"FACTURE ")])  # a number of its own: another one, perhaps
    assert await booked(world, tenant) == (5, 7_000, 0, 0)
    await world.holds()


async def test_days_that_one_file_tells_together_and_others_one_by_one_are_booked_once(world, tenant, bank):
    for number in range(3):
        await bank.books((1_000, {"text": f"FA-{number}", "day": f"2026-03-0{number + 2}"}))
    lines = "".join(f":61:26030{n + 2}030{n + 2}C10,00NTRFNONREF\r\n:86:VIREMENT FA-{n}\r\n" for n in range(3))
    head = f":20:X\r\n:25:{bank.held.iban}\r\n:28C:00001/001\r\n:60F:C260301EUR0,00\r\n"
    await bank.again([f"{head}{lines}:62F:C260304EUR30,00\r\n-\r\n".encode()])
    assert await booked(world, tenant) == (3, 3_000, 0, 0)
    await world.holds()


@pytest.mark.parametrize("first", ["camt", "pages"])
async def test_pages_of_a_day_that_another_format_tells_whole_are_booked_once(world, tenant, bank, first):
    def page(number, opening, closing, *amounts):
        head = f":20:X\r\n:25:{bank.held.iban}\r\n:28C:00001/{number:03}\r\n:60{'F' if number == 1 else 'M'}:C260301EUR{opening},00\r\n"
        lines = "".join(f":61:2603010301C{amount},00NTRFNONREF\r\n:86:VIREMENT {number}\r\n" for amount in amounts)
        return f"{head}{lines}:62{'F' if number == 3 else 'M'}:C260301EUR{closing},00\r\n-\r\n"

    pages = (page(1, 0, 30, 10, 20) + page(2, 30, 60, 10, 20) + page(3, 60, 70, 10)).encode()
    entries = [bank.entry(amount, ref=f"C{at}", day=DAY) for at, amount in enumerate((1_000, 2_000, 1_000, 2_000, 1_000))]
    bank.files.append(pages)
    if first == "pages":
        await bank.again()
    await bank.brings("053", "0.00", "70.00", *entries)
    await bank.again()
    assert await booked(world, tenant) == (5, 7_000, 0, 0)
    await world.holds()


async def test_the_other_format_brings_the_details_that_a_batch_total_lacks(world, tenant, bank):
    await bank.again(
        [
            f":20:X\r\n:25:{bank.held.iban}\r\n:28C:00001/001\r\n:60F:C260228EUR0,00\r\n"
            ":61:2603010301C30,00NRTXNONREF//BATCH\r\n:86:/TRTP/SEPA INCASSO BATCH/PREF/BATCH/NRTX/2\r\n"
            ":61:2603010301C5,00NTRFNONREF\r\n:86:VIREMENT FA-3\r\n:62F:C260301EUR35,00\r\n-\r\n".encode()
        ]
    )
    assert await booked(world, tenant) == (1, 500, 1, 3_000)
    details = "".join(
        f'<TxDtls><Refs><AcctSvcrRef>D{at}</AcctSvcrRef></Refs><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd></TxDtls>'
        for at, amount in enumerate(("10.00", "20.00"))
    )
    batch = (
        f'<Ntry><Amt Ccy="EUR">30.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>{DAY}</Dt></BookgDt>'
        f"<AcctSvcrRef>BATCH</AcctSvcrRef><NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch>{details}</NtryDtls></Ntry>"
    )
    for _ in range(2):
        await bank.brings("053", "0.00", "35.00", batch, bank.entry(500, text="FA-3", day=DAY))
    assert await booked(world, tenant) == (3, 3_500, 1, 3_000)
    assert (await world.one(tenant, "SELECT resolved FROM movement")).resolved
    await world.holds()


async def test_a_long_statement_in_two_formats_and_both_at_once_are_booked_once(world, client, tenant, bank):
    count = 1_200
    lines = [("C", "1,00", f"VIREMENT FA-{at}") for at in range(count)]
    old = mt940(bank, "0,00", "1200,00", *lines)
    entries = [bank.entry(100, text=f"FA-{at}", ref=f"C{at}", day=DAY) for at in range(count)]
    new = bank.camtfile.statement(bank.held.iban, "0.00", "1200.00", *entries, day=DAY)

    answers = await asyncio.gather(*(post_file(client, data) for data in (old, new)))
    assert {answer.json()["statements"][0]["verdict"] for answer in answers} == {"importing"}, [answer.text for answer in answers]
    for _ in range(3):
        await import_slices(job(world), tenant)
    assert await world.rows(tenant, "SELECT 1 FROM statement WHERE verdict <> 'booked'") == []
    assert await booked(world, tenant) == (count, count * 100, 0, 0)
    await world.holds()
