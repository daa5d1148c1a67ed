"""A reminder carries the invoices it asks for, where the policy says so."""

import hashlib
from datetime import date, timedelta

import msgspec
import pytest
from contracts.fields import Document
from dunning.handlers import dispatches
from dunning.letters import COPIES_BYTES_MAX, with_copies
from dunning_world import World, morning, new_id
from shared import documents

DUE = date(2025, 3, 1)
DAY = DUE + timedelta(days=7)
PDF = b"%PDF-1.7\nthe invoice\n%%EOF"


async def planned(world: World, folder, *, attach: bool, kind: str = "copy", stored: bool = True) -> None:
    await world.switch_on(attach_copies=attach)
    await world.feed(world.bank_account())
    who, identity = world.customer()
    item, sha256 = new_id(), hashlib.sha256(PDF).hexdigest()
    if stored:
        documents.store(folder, world.tenant, sha256, PDF)
    invoice = world.invoice(item, who.data.customer_id, DUE)
    named = msgspec.structs.replace(invoice.data, documents=[Document(kind="ubl", sha256="0" * 64), Document(kind=kind, sha256=sha256)])
    await world.feed(who, identity, world.item(who.data.customer_id, due=DUE, item_id=item, number="F 1/2"), world.message(named))
    await world.decide(DAY)
    await dispatches.send_planned(world.context(morning(DAY)), world.tenant, world.mail_server.transport, folder)


@pytest.mark.parametrize("kind", ["copy", "pdf"])
async def test_the_copy_goes_with_the_mail(world: World, tmp_path, kind) -> None:
    await planned(world, tmp_path, attach=True, kind=kind)
    [mail] = world.mail_server.mails
    [attached] = list(mail.iter_attachments())
    assert (attached.get_filename(), attached.get_content_type(), attached.get_content()) == ("F-1-2.pdf", "application/pdf", PDF)
    assert mail.get_body(("plain",)) is not None
    assert mail.get_body(("html",)) is not None
    assert mail["Message-ID"].startswith("<")


@pytest.mark.parametrize(("attach", "stored", "kind"), [(False, True, "copy"), (True, False, "copy"), (True, True, "attachment")])
async def test_without_policy_or_copy_the_letter_goes_alone(world: World, tmp_path, attach, stored, kind) -> None:
    await planned(world, tmp_path, attach=attach, stored=stored, kind=kind)
    [mail] = world.mail_server.mails
    assert list(mail.iter_attachments()) == []


def test_copies_beyond_the_bounds_are_left_out_whole() -> None:
    plain = b"From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\nContent-Type: text/plain\r\n\r\ntext\r\n"
    big = b"x" * (COPIES_BYTES_MAX - 10)
    mail = with_copies(plain, [("A", big), ("B", b"y" * 20), ("C", b"z" * 5)])
    assert [name in mail for name in (b"A.pdf", b"B.pdf", b"C.pdf")] == [True, False, True]
    assert with_copies(plain, []) == plain
