"""What banks say of files of refunds (pain.002), over HTTP."""

import asyncio

import pytest
from bankdays import Bank, ahead, money
from camtfile import pain002
from handwork import limit, post, unexplained
from lxml import etree
from shared.ids import new_id

MONEY = "SELECT unapplied_minor, refunded_minor, refund_pending_minor, status, unapplied_reason FROM payment ORDER BY amount_minor"
PAYER = {"debtor_name": "Dupont", "debtor_iban": "DE89370400440532013000"}


class Sent:
    """Refunds of whole payments that are in one file: their EndToEndIds, the smallest first, and the file's message id."""

    def __init__(self, client, bank, file_id, message, ends):
        self.client, self.bank, self.file_id, self.message, self.ends = client, bank, file_id, message, ends

    async def report(self, *told, message=None, **more):
        return await self.takes(pain002(message or self.message, *told, **more))

    async def takes(self, body, media="application/xml"):
        return await self.client.post("/v1/refund-reports", content=body, headers={"content-type": media})

    async def outcomes(self, *told, **more):
        """Of each refund that the report is about what became of it, and how it stands."""
        answer = await self.report(*told, **more)
        assert answer.status_code == 201, answer.text
        return sorted((one["outcome"], one["status"], one["bank_reason"]) for one in answer.json()["refunds"])


@pytest.fixture
async def send(world, tenant, make, client, camtfile):
    """Sends refunds of so many payments, of 10.00, 10.01 and so on."""
    bank = Bank(world, client, await world.account(tenant), camtfile)
    await limit(client, tenant, make, 1_000_000)
    numbers = iter(range(1, 1_000))

    async def of(count):
        booked = [(1_000 + next(numbers), {}) for _ in range(count)]
        for amount, _ in booked:
            payment = await world.pay(bank.held, amount, **PAYER, number=amount)
            asked = (await post(client, "/v1/refunds", {"payment_id": str(payment), "reason": "paid twice"})).json()
            assert asked["status"] == "approved"
        await bank.books(*((amount, {"ref": f"B{amount}"}) for amount, _ in booked))
        order = {"bank_account_id": str(bank.held.bank_account_id), "execution_date": ahead(1)}
        file_id = (await post(client, "/v1/refund-files", order)).json()["refund_file_id"]
        document = etree.fromstring((await client.get(f"/v1/refund-files/{file_id}")).content)
        ends = [one.text for one in document.iterfind(".//{*}EndToEndId")]
        assert len(ends) == count
        return Sent(client, bank, file_id, document.findtext(".//{*}MsgId"), ends)

    return of


async def test_what_the_bank_refuses_is_unapplied_again_looked_at_anew_and_keeps_the_reason(world, tenant, client, send):
    sent = await send(2)
    await world.match(tenant)
    told = (sent.ends[0], "RJCT", "AC04"), (sent.ends[1], "ACSP", None)
    answers = [await sent.report(*told, group=("PART",)) for _ in range(2)]
    refused, kept = answers[0].json()["refunds"]
    assert (answers[0].status_code, answers[0].json()["refund_file_id"], answers[0].json()["unknown"]) == (201, sent.file_id, [])
    shown = ("outcome", "status", "bank_status", "bank_reason")
    assert [refused[name] for name in shown] == ["refused", "cancelled", "RJCT", "ac04"]
    assert [kept[name] for name in shown] == ["unchanged", "sent", "ACSP", None]
    assert answers[1].json() == answers[0].json()  # the same again
    assert [tuple(row) for row in await world.rows(tenant, MONEY)] == [
        (1_001, 0, 0, "unapplied", "refund_cancelled"),
        (0, 1_002, 1_002, "refunded", None),
    ]
    assert [row[0] for row in await world.rows(tenant, "SELECT next_look_at <= now() FROM payment ORDER BY amount_minor")] == [True, None]
    events = [m.data for m in await world.events("PaymentUnapplied") if m.tenant_id == tenant]
    assert [(one.unapplied_minor, one.refund_pending_minor) for one in events if one.unapplied_reason == "refund_cancelled"] == [(1_001, 0)]
    listed = (await client.get("/v1/refunds", params={"status": "cancelled"})).json()["items"]
    assert [(one["bank_reason"], one["decided_by"]) for one in listed] == [("ac04", "tester")]
    audit = await world.rows(tenant, "SELECT detail FROM audit WHERE action = 'refund.report' ORDER BY id LIMIT 1")
    assert '"reason": "ac04"' in str(audit[0][0]).replace("'", '"')
    again = await post(client, "/v1/refunds", {"payment_id": refused["payment_id"], "reason": "paid twice"})
    assert again.json()["status"] == "approved"
    await sent.bank.books((-1_002, {"ref": "D1", "e2e": sent.ends[1]}))
    assert [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]] == ["cancelled", "paid", "approved"]
    await world.holds()


@pytest.mark.parametrize("level", ["group", "block"])
async def test_a_file_that_is_refused_as_a_whole_is_taken_back_as_a_whole(world, tenant, send, level):
    first, second = await send(2), await send(1)
    told = ((first.ends[1], "RJCT", "AM05"),)  # the one that was the reason
    assert await first.outcomes(*told, **{level: ("RJCT", "FF01")}) == [("refused", "cancelled", "am05"), ("refused", "cancelled", "ff01")]
    assert [row[0] for row in await world.rows(tenant, "SELECT unapplied_minor FROM payment ORDER BY amount_minor")] == [1_001, 1_002, 0]
    assert await second.outcomes(**{level: ("ACCP",)}) == [("unchanged", "sent", None)]
    assert await second.outcomes(**{level: ("PART",)}) == []
    await world.holds()


@pytest.mark.parametrize("told", [{"group": ("RJCT", "DU01")}, {"group": ("RJCT", "AM05")}, {"block": ("RJCT", "DU02")}, {}])
async def test_what_is_refused_for_the_bank_has_it_already_goes_on(world, tenant, client, send, told):
    sent = await send(2)
    before = [tuple(row) for row in await world.rows(tenant, MONEY)]
    each = [] if told else [(end, "RJCT", "DU04") for end in sent.ends]
    assert await sent.outcomes(*each, **told) == [("duplicate", "sent", None)] * 2
    assert [tuple(row) for row in await world.rows(tenant, MONEY)] == before
    await sent.bank.books(*((-1_001 - at, {"ref": f"D{at}", "e2e": end}) for at, end in enumerate(sent.ends)))  # what came first
    assert (await unexplained(client), await sent.outcomes(*each, **told)) == ([], [("duplicate", "paid", None)] * 2)
    await world.holds()


async def test_what_the_bank_has_booked_holds_whatever_it_reports(world, tenant, client, send):
    sent = await send(1)
    await sent.bank.books((-1_001, {"ref": "D1", "e2e": sent.ends[0]}))
    for status, outcome in (("ACSC", "unchanged"), ("RJCT", "booked")):
        assert await sent.outcomes((sent.ends[0], status, "AC04")) == [(outcome, "paid", None)]
    await sent.bank.books((1_001, {"ref": "D2", "e2e": sent.ends[0], "reason": "AC04"}))  # and now it comes back
    assert await sent.outcomes((sent.ends[0], "RJCT", "AC04")) == [("booked", "returned", None)]
    assert tuple(await world.one(tenant, MONEY)) == (1_001, 0, 0, "unapplied", "refund_returned")
    await world.holds()


async def test_a_debit_of_a_refund_that_was_refused_waits_for_a_person(world, tenant, client, send):
    sent = await send(1)
    assert await sent.outcomes((sent.ends[0], "RJCT", None)) == [("refused", "cancelled", "unknown")]
    assert await sent.outcomes((sent.ends[0], "ACSC", None)) == [("unchanged", "cancelled", "unknown")]
    await sent.bank.books((-1_001, {"ref": "D1", "e2e": sent.ends[0]}))
    assert await unexplained(client) == [-1_001]
    await world.holds()


async def test_what_is_contradictory_or_unknown_changes_nothing_and_is_told(world, tenant, send):
    sent = await send(2)
    one, other = sent.ends
    before = [tuple(row) for row in await world.rows(tenant, MONEY)]
    assert await sent.outcomes((one, "ACSP", None), (other, "SOON", None), group=("RJCT",)) == [("contradictory", "sent", None)] * 2
    assert await sent.outcomes((one, "RJCT", "AC04"), (other, "SOON", None), (one, "ACSP", None)) == [
        ("contradictory", "sent", None),
        ("status_unknown", "sent", None),
    ]
    assert [tuple(row) for row in await world.rows(tenant, MONEY)] == before
    assert await sent.outcomes((one, "RJCT", "AC04"), (other, "SOON", None)) == [  # the rest of a report counts
        ("refused", "cancelled", "ac04"),
        ("status_unknown", "sent", None),
    ]
    await world.holds()


async def test_ids_that_are_none_of_ours_are_numbered_and_change_nothing(world, tenant, client, send):
    first, second = await send(1), await send(1)
    unsent = await world.pay(first.bank.held, 500, **PAYER, number=9)
    unsent = (await post(client, "/v1/refunds", {"payment_id": str(unsent), "reason": "paid twice"})).json()["end_to_end_id"]
    told = [("NOTPROVIDED", "RJCT", "AC04"), (second.ends[0], "RJCT", "AC04"), (unsent, "RJCT", "AC04"), (first.ends[0], "ACTC", None)]
    answer = (await first.report(*told)).json()
    assert (answer["unknown"], [one["outcome"] for one in answer["refunds"]]) == ([1, 2, 3], ["unchanged"])  # the second is in another file
    for message in ("REFUNDS-" + "0" * 27, "INVOICES-1", "REFUNDS-' OR 1=1"):
        answer = (await first.report(("E-1", "RJCT", "AC04"), (unsent, "RJCT", "AC04"), message=message, group=("RJCT",))).json()
        assert answer == {"refund_file_id": None, "refunds": [], "unknown": [1, 2]}, message
    assert {row[0] for row in await world.rows(tenant, "SELECT status FROM refund")} == {"sent", "approved"}
    # a gateway on the way has given the file a name of its own: the EndToEndId is ours
    assert await second.outcomes((second.ends[0], "RJCT", "AC04"), message="GATEWAY-7") == [("refused", "cancelled", "ac04")]
    await world.holds()


async def test_one_tenants_report_says_nothing_of_anothers_refunds(world, tenant, client_of, send):
    sent = await send(1)
    body = pain002(sent.message, (sent.ends[0], "RJCT", "AC04"))
    other = await client_of(new_id())
    answer = await other.post("/v1/refund-reports", content=body, headers={"content-type": "application/xml"})
    assert (answer.status_code, answer.json()) == (201, {"refund_file_id": None, "refunds": [], "unknown": [1]})
    assert await world.one(tenant, "SELECT status FROM refund") == ("sent",)


async def test_reports_and_debits_at_once_end_as_one_after_the_other(world, tenant, client, send):
    sent = await send(4)
    told = [(end, "RJCT", "AC04") for end in sent.ends]
    debits = [(-1_001 - at, {"ref": f"D{at}", "e2e": sent.ends[at]}) for at in range(2)]
    answers = await asyncio.gather(*(sent.report(*told) for _ in range(3)), sent.bank.books(*debits))
    assert [one.status_code for one in answers[:3]] == [201] * 3
    ended = [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]]
    assert ended[2:] == ["cancelled"] * 2
    assert set(ended[:2]) <= {"paid", "cancelled"}
    assert len(await unexplained(client)) == ended[:2].count("cancelled")
    await world.holds()


@pytest.mark.parametrize(
    ("body", "media", "status", "code"),
    [
        (pain002("M"), "text/plain", 415, "media-type-unsupported"),
        (b"<Document/>", "application/xml", 422, "report-unreadable"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + pain002("M"), "text/xml", 422, "report-unreadable"),
        (b"<a>" + b"b" * (16 * 1024 * 1024), "application/xml", 413, "body-too-large"),
    ],
)
async def test_what_is_no_report_is_refused(client, body, media, status, code):
    answer = await client.post("/v1/refund-reports", content=body, headers={"content-type": media})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def whole(bank, sent, amount, **more):
    """A debit for a file, of which the bank tells no details."""
    entry = bank.entry(-amount, **more)
    batch = f"<NtryDtls><Btch><PmtInfId>{sent.message}</PmtInfId><NbOfTxs>{len(sent.ends)}</NbOfTxs></Btch></NtryDtls>"
    return entry[: entry.index("<NtryDtls>")] + batch + "</Ntry>"


@pytest.mark.parametrize(("refused", "amount", "fits"), [(0, 3_006, True), (1, 2_005, True), (1, 3_006, False), (0, 3_005, False)])
async def test_a_file_that_the_bank_books_as_one_pays_all_of_it_that_was_sent(world, tenant, client, send, refused, amount, fits):
    sent, _ = await send(3), await send(1)
    if refused:
        await sent.report((sent.ends[0], "RJCT", "AC04"))
    bank = sent.bank
    await bank.brings("053", "50000.00", money(5_000_000 - amount), whole(bank, sent, amount, ref="D1"))
    ended = [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]]
    goes_on = ["paid" if fits else "sent"]
    assert ended == (["cancelled"] if refused else goes_on) + goes_on * 2 + ["sent"]
    assert await unexplained(client) == ([] if fits else [-amount])
    if fits:
        await bank.books((1_003, {"ref": "C1", "e2e": sent.ends[2], "reason": "AC04"}))
        assert [one["status"] for one in (await client.get("/v1/refunds")).json()["items"]][2] == "returned"
    await bank.again()
    await world.holds()
