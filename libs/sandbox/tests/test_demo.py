"""What the main job decides by itself: where the services are, when all is quiet, whether the books fit."""

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from contracts.catalogue import SERVICES, topics
from sandbox.bank import Order
from sandbox.demo import __main__ as demo
from sandbox.demo.play import Play, at_once
from sandbox.demo.report import Report, read_check
from sandbox.demo.settle import Reading, Settler, unfinished
from sandbox.demo.stage import PARTS, Services, StageError, read_stage
from sandbox.demo.truth import Books, add_item, add_payment, compare
from sandbox.world import generate


def stage_file(folder: Path, **changes: object) -> dict[str, str]:
    content: dict[str, object] = {
        "tenant": str(UUID(int=1)),
        "entity": str(UUID(int=2)),
        "token": "t",
        "clock_file": str(folder / "clock"),
        "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        **{name: {"url": f"http://127.0.0.1:1/{name}", "env": {"A": name}} for name in PARTS},
        **changes,
    }
    file = folder / "services.json"
    file.write_text(json.dumps(content))
    return {"ENCOURS_SERVICES_FILE": str(file)}


def test_the_stage_is_read_and_what_is_missing_is_named(tmp_path: Path) -> None:
    stage = read_stage(stage_file(tmp_path) | {"ENCOURS_URL_MATCHING": "http://elsewhere/"})
    assert stage.urls["matching"] == "http://elsewhere"
    assert stage.environments["dunning"] == {"A": "dunning"}
    with pytest.raises(StageError, match="/dunning/url is missing"):
        read_stage(stage_file(tmp_path, dunning={}))
    with pytest.raises(StageError, match="/token is missing"):
        read_stage(stage_file(tmp_path, token=None))
    with pytest.raises(StageError, match="UUIDs"):
        read_stage(stage_file(tmp_path, tenant="x"))
    with pytest.raises(StageError, match="ENCOURS_SERVICES_FILE is not set"):
        read_stage({})


def test_without_services_the_demo_says_so_and_ends_with_two(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("ENCOURS_SERVICES_FILE", raising=False)
    assert demo.main(["--json"]) == 2
    assert "ENCOURS_SERVICES_FILE is not set" in capsys.readouterr().err


def metrics(*lines: str) -> Reading:
    reading = Reading()
    reading.add("matching", "\n".join(lines) + "\n")
    return reading


def test_quiet_is_when_every_consumer_has_handled_what_was_published() -> None:
    start = metrics('encours_relay_published_total{topic="PaymentMatched"} 5.0')
    busy = metrics('encours_relay_published_total{topic="PaymentMatched"} 7.0', "encours_outbox_depth 3.0")
    left = unfinished(busy, start)
    assert left[0] == "3 events in the outbox of matching"
    assert {f"2 of 2 PaymentMatched not handled by {name}" for name in topics()["PaymentMatched"].consumers} == set(left[1:])
    handled = Reading()
    handled.published["PaymentMatched"] = 7
    for name in SERVICES:
        handled.add(name, 'encours_consumed_total{topic="PaymentMatched"} 2.0\n')
    assert unfinished(handled, start) == []
    assert metrics('encours_consumer_stopped{topic="InvoicePaid",why="poison"} 1.0').stopped == ["matching has stopped InvoicePaid: poison"]
    assert metrics('encours_consumer_stopped{topic="InvoicePaid",why="poison"} 0.0').stopped == []


def item(**changes: Any) -> dict[str, Any]:
    settled = ("cash_minor", "discount_minor", "credit_minor", "charges_minor", "withheld_minor", "set_off_minor", "written_off_minor")
    return {
        "kind": "invoice",
        "currency": "EUR",
        "invoice_number": "F1",
        "original_minor": 100,
        "open_minor": 100,
        "close_cause": None,
        **dict.fromkeys(settled, 0),
        **changes,
    }


async def test_books_that_fit_hold_and_a_missing_cent_is_told(tmp_path: Path) -> None:
    world, stage = generate(seed=1, customers=7, days=3), read_stage(stage_file(tmp_path))
    async with Services(stage) as services:
        play = Play(world, stage, services, Settler(services, seconds=1))
    document = next(each for each in world.documents() if each.kind == "invoice" and each.currency == "EUR")
    play.told.documents[document.number] = document
    bank = play.banks["EUR"]
    bank.accept(
        Order(
            debtor_name="D",
            debtor_iban=bank.account.iban,
            to_iban=bank.account.iban,
            amount_minor=document.owed_minor,
            day=world.days[0].date,
        )
    )
    payment = {
        "payment_id": "p",
        "currency": "EUR",
        "status": "matched",
        "amount_minor": document.owed_minor,
        "allocated_minor": document.owed_minor,
        "unapplied_minor": 0,
        "returned_minor": 0,
        "refunded_minor": 0,
    }
    books = Books()
    add_payment(books, payment)
    add_item(books, item(original_minor=document.owed_minor, open_minor=0, cash_minor=document.owed_minor))
    add_item(books, item(close_cause="cancelled", original_minor=0, open_minor=0))
    assert set(compare(books, play).values()) == {True}
    add_payment(books, payment | {"amount_minor": 1})
    add_item(books, item(open_minor=99))
    play.told.wrong.append("F1 was refused: why")
    broken = {name for name, value in compare(books, play).items() if value is not True}
    assert {"sandbox.every_cent_received_EUR", "sandbox.invoices_issued_EUR", "sandbox.each_payment_and_item_adds_up"} < broken
    assert "sandbox.what_is_right_is_taken_and_what_is_wrong_refused" in broken


def test_the_clock_file_is_a_moment_with_offset(tmp_path: Path) -> None:
    stage, world = read_stage(stage_file(tmp_path)), generate(seed=1, customers=1, days=1)
    play = Play(world, stage, Services(stage), Settler(Services(stage), seconds=1))
    play.set_clock(world.days[0].date, datetime.min.time())
    assert stage.clock_file.read_text() == "2026-01-05T00:00:00+01:00"
    assert [file.name for file in tmp_path.iterdir() if "clock" in file.name] == ["clock"]


def test_a_checks_answer_is_read_and_garbage_is_told() -> None:
    assert read_check("matching", b'{"money": true, "once": "twice"}', b"", 1) == {"matching.money": True, "matching.once": "twice"}
    assert read_check("matching", b"", b"no database", 1) == {"matching.check": "exit 1: no database"}


def test_a_report_is_good_only_when_everything_holds() -> None:
    assert Report(invariants={"a": True}).good
    assert not Report(invariants={"a": "no"}).good
    assert not Report(not_settled="x").good
    assert not Report(dead_letters=1).good


async def test_work_at_once_is_all_done_and_a_failure_is_raised() -> None:
    done = Counter[int]()

    async def work(number: int) -> None:
        done[number] += 1
        if number == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        await at_once(work(number) for number in range(30))
    assert set(done.values()) == {1}
    assert len(done) == 30
