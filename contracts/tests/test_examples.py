"""Every example ever written decodes for ever, and says something true."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from contracts.catalogue import events, topics
from contracts.credit import CreditHoldState
from contracts.dunning import PaymentPlanState
from contracts.envelope import Event, Message, StateEvent, attributes, decode, encode, event_id, headers, natural_key
from contracts.generate import ROOT
from contracts.invoices import InvoiceState
from contracts.items import OpenItemState
from contracts.payments import PaymentState
from contracts.testing import Example, examples

EXAMPLES = list(examples())
every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.event}/{e.path.stem}")


def message(example: Example) -> Message[Event]:
    return decode(events()[example.event], example.headers, example.value)


def of(base):
    return [each.data for each in map(message, EXAMPLES) if isinstance(each.data, base)]


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - git, our own arguments


def deleted(folder: Path) -> set[str]:
    """Files below `folder` that were there at some commit or in the index and are gone; a rename is a deletion."""
    history = git(folder, "log", "--no-renames", "--diff-filter=D", "--name-only", "--format=", "--", ".")
    gone = {line for line in history.splitlines() if line}
    top = Path(git(folder, "rev-parse", "--show-toplevel").strip())
    back = {name for name in gone if (top / name).is_file()}
    return gone - back | {line for line in git(folder, "ls-files", "--deleted", "--full-name", "--", ".").splitlines() if line}


def test_every_event_has_at_least_two_examples():
    counts = Counter(example.event for example in EXAMPLES)
    assert {name for name in events() if counts[name] < 2} == set()
    assert counts.keys() <= events().keys()


@every_example
def test_an_example_decodes_and_its_data_match_the_schema(example, validator):
    message(example)
    validator(example.event).validate(json.loads(example.value))


@every_example
def test_an_example_written_anew_decodes_to_the_same(example):
    read = message(example)
    assert decode(type(read.data), headers(read.envelope), encode(read.data)) == read
    assert attributes(headers(read.envelope)).keys() == attributes(example.headers).keys()


@every_example
def test_the_headers_of_an_example_follow_from_its_data(example):
    envelope, data = message(example).envelope, message(example).data
    topic = topics()[example.event]
    aggregate = getattr(data, topic.key)
    parts = (aggregate, data.version) if isinstance(data, StateEvent) else natural_key(data, topic.key)
    assert envelope.id == event_id(envelope.tenantid, type(data), *parts)
    assert envelope.subject == str(aggregate)
    assert envelope.source == f"/encours/{topic.owner}"
    assert envelope.entityid == getattr(data, "entity_id", envelope.entityid)


def test_no_two_examples_of_an_event_share_an_id():
    ids = Counter((example.event, message(example).envelope.id) for example in EXAMPLES)
    assert [key for key, count in ids.items() if count > 1] == []


def test_the_examples_hold_currencies_of_no_two_and_three_decimals():
    assert {data.currency for data in of(InvoiceState)} >= {"JPY", "EUR", "KWD"}
    assert {data.origin for data in of(InvoiceState)} == {"issued", "opening", "history"}
    assert {data.kind for data in of(InvoiceState)} == {"invoice", "credit_note", "deposit"}


@pytest.mark.parametrize("invoice", of(InvoiceState), ids=lambda i: i.invoice_number)
def test_the_money_of_an_invoice_adds_up(invoice):
    assert invoice.payable_minor == invoice.total_minor - invoice.prepaid_minor
    assert invoice.payable_minor == sum(each.amount_minor for each in invoice.instalments)
    assert [each.number for each in invoice.instalments] == list(range(1, len(invoice.instalments) + 1))
    assert 0 <= invoice.tax_minor <= invoice.total_minor
    assert (invoice.opening_open_minor is not None) == (invoice.origin == "opening")
    assert (invoice.opening_open_minor or 0) <= invoice.payable_minor


@pytest.mark.parametrize("item", of(OpenItemState), ids=lambda i: f"{type(i).__name__}-{i.invoice_number}")
def test_the_money_of_an_open_item_adds_up(item):
    settled = sum(getattr(item.settled, name) for name in item.settled.__struct_fields__)
    assert item.original_minor == item.open_minor + settled
    assert item.original_minor == sum(each.amount_minor for each in item.instalments)
    assert item.open_minor == sum(each.open_minor for each in item.instalments)
    assert all(each.open_minor <= each.amount_minor for each in item.instalments)
    assert item.disputed_minor <= item.open_minor
    assert (item.status == "open") == (item.open_minor > 0)
    wanted = {"InvoicePaid": "paid", "InvoiceClosed": "closed", "InvoiceReopened": "open"}
    assert item.status == wanted.get(type(item).__name__, item.status)
    assert (item.close_cause is not None) == (item.status == "closed")


@pytest.mark.parametrize("payment", of(PaymentState), ids=lambda p: f"{type(p).__name__}-{p.version}")
def test_the_money_of_a_payment_adds_up(payment):
    allocated = sum(each.amount_minor for each in payment.allocations)
    assert payment.amount_minor == allocated + payment.unapplied_minor + payment.returned_minor + payment.refunded_minor
    if type(payment).__name__ == "PaymentReturned":
        assert not payment.allocations


@pytest.mark.parametrize("plan", of(PaymentPlanState), ids=lambda p: f"{type(p).__name__}-{p.version}")
def test_the_money_of_a_payment_plan_adds_up(plan):
    assert sum(each.amount_minor for each in plan.items) == sum(each.amount_minor for each in plan.instalments)
    assert sum(each.left_minor for each in plan.items) == sum(each.open_minor for each in plan.instalments)
    assert all(each.left_minor <= each.amount_minor for each in plan.items)
    assert all(each.open_minor <= each.amount_minor for each in plan.instalments)
    assert [each.number for each in plan.instalments] == list(range(1, len(plan.instalments) + 1))
    assert [each.due_on for each in plan.instalments] == sorted({each.due_on for each in plan.instalments})
    assert (plan.broken_instalment is not None) == (plan.missing_minor is not None) == (plan.status == "broken")


def test_an_event_about_a_hold_or_a_promise_says_what_its_name_says():
    assert {(type(data).__name__, data.active) for data in of(CreditHoldState)} == {
        ("CreditHoldPlaced", True),
        ("CreditHoldReleased", False),
    }
    wanted = {"PromiseMade": "open", "PromiseKept": "kept", "PromiseBroken": "broken", "PromiseCancelled": "cancelled"}
    wanted |= {"PaymentPlanAgreed": "active", "PaymentPlanCompleted": "completed", "PaymentPlanBroken": "broken"}
    wanted |= {"PaymentPlanCancelled": "cancelled", "DisputeOpened": "open", "DisputeResolved": "resolved", "InvoiceCancelled": "cancelled"}
    for example in EXAMPLES:
        if example.event in wanted:
            assert message(example).data.status == wanted[example.event], example.path


def test_no_example_was_ever_deleted():
    try:
        git(ROOT, "rev-parse", "--verify", "--quiet", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git history here: nothing can be said of what was deleted")
    assert deleted(ROOT / "examples") == set()


def test_a_deleted_or_renamed_example_is_found(tmp_path):
    folder = tmp_path / "examples"
    folder.mkdir()
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "config", "user.email", "test@example.invalid")
    git(tmp_path, "config", "user.name", "test")
    for name in ("kept", "renamed", "removed", "restored", "unstaged"):
        (folder / f"{name}.json").write_text(name)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "examples")
    assert deleted(folder) == set()
    git(tmp_path, "mv", "examples/renamed.json", "examples/other.json")
    git(tmp_path, "rm", "--quiet", "examples/removed.json", "examples/restored.json")
    git(tmp_path, "commit", "--quiet", "-m", "tidy")
    (folder / "restored.json").write_text("restored")
    (folder / "unstaged.json").unlink()
    assert deleted(folder) == {f"examples/{name}.json" for name in ("renamed", "removed", "unstaged")}
