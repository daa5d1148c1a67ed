"""Each rule of compatibility, both ways, on mutated schemas and topics; and the command on a repository."""

import copy
import json
import shutil
import subprocess

import msgspec
import pytest
from contracts.catalogue import topics
from contracts.compatibility import Contracts, check_subset, compare, main, working_tree
from contracts.generate import ROOT

SCHEMA = {
    "type": "object",
    "properties": {
        "event": {"enum": ["Made"]},
        "amount_minor": {"type": "integer", "minimum": 0, "maximum": 100},
        "code": {"type": "string", "pattern": "^[a-z]+$", "minLength": 1, "maxLength": 9},
        "free": {"type": "string"},
        "kind": {"enum": ["a", "b"]},
        "day": {"type": "string", "format": "date"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        "head": {"anyOf": [{"$ref": "#/$defs/Line"}, {"type": "null"}]},
    },
    "required": ["event", "amount_minor", "code", "free", "kind", "day", "lines", "head"],
    "additionalProperties": False,
    "$defs": {
        "Line": {
            "type": "object",
            "properties": {"number": {"type": "integer"}},
            "required": ["number"],
            "additionalProperties": False,
        }
    },
}


def found(old, new, old_topic=None, new_topic=None):
    """The changes from one schema (and topic) to another, as (where, what, who first)."""
    before = Contracts({"Made": old}, {"Made": old_topic} if old_topic else {})
    after = Contracts({"Made": new}, {"Made": new_topic} if new_topic else {})
    return [tuple(change)[1:] for change in compare(before, after)]


def changed(**fields):
    """SCHEMA with other definitions for some fields; None drops a field."""
    schema = copy.deepcopy(SCHEMA)
    schema["properties"] |= {name: node for name, node in fields.items() if node is not None}
    for name in [name for name, node in fields.items() if node is None]:
        del schema["properties"][name]
        schema["required"] = [each for each in schema["required"] if each != name]
    return schema


def requiring(*names, not_requiring=()):
    schema = copy.deepcopy(SCHEMA)
    schema["required"] = [each for each in [*schema["required"], *names] if each not in not_requiring]
    return schema


def with_line(**fields):
    schema = copy.deepcopy(SCHEMA)
    schema["$defs"]["Line"]["properties"] |= fields
    return schema


AMOUNT, CODE = SCHEMA["properties"]["amount_minor"], SCHEMA["properties"]["code"]
WITHOUT_PATTERN = {name: value for name, value in CODE.items() if name != "pattern"}
MINIMUM, MAXIMUM = {"type": "integer", "minimum": 0}, {"type": "integer", "maximum": 100}
NULLABLE = {"anyOf": [{"type": "string"}, {"type": "null"}]}
NEW = {"type": "string", "default": ""}

# (the changed schema, where, what the change there says and who is first; what the way back says and who is first)
BOTH_WAYS = [
    (changed(note=None), "note", ("field removed", "consumers"), ("optional field added", "any")),
    (changed(free=None), "free", ("field removed", "consumers"), ("required field added", "owner")),
    (requiring("note"), "note", ("optional became required", "owner"), ("required became optional", "consumers")),
    (changed(free={"type": "integer"}), "free", ("type changed", "neither"), ("type changed", "neither")),
    (changed(free={"enum": ["x"]}), "free", ("type changed", "neither"), ("type changed", "neither")),
    (changed(head=NULLABLE), "head", ("type changed", "neither"), ("type changed", "neither")),
    (changed(lines={"type": "array", "items": {"type": "string"}}), "lines[]", ("type changed", "neither"), ("type changed", "neither")),
    (changed(kind={"enum": ["a", "b", "c"]}), "kind", ("enum widened by ['c']", "consumers"), ("enum narrowed by ['c']", "owner")),
    (changed(free=NULLABLE), "free", ("null allowed", "consumers"), ("null no longer", "owner")),
    (changed(note=NULLABLE | {"default": ""}), "note", ("default changed", "neither"), ("default changed", "neither")),
    (changed(day={"type": "string", "format": "date-time"}), "day", ("format changed", "neither"), ("format changed", "neither")),
    (changed(day={"type": "string"}), "day", ("format changed", "neither"), ("format changed", "neither")),
    (changed(code=WITHOUT_PATTERN), "code", ("pattern loosened", "consumers"), ("pattern tightened", "owner")),
    (changed(code=CODE | {"pattern": "^[a-f]+$"}), "code", ("pattern changed", "neither"), ("pattern changed", "neither")),
    (changed(amount_minor=AMOUNT | {"minimum": -1}), "amount_minor", ("minimum loosened", "consumers"), ("minimum tightened", "owner")),
    (changed(amount_minor=AMOUNT | {"maximum": 101}), "amount_minor", ("maximum loosened", "consumers"), ("maximum tightened", "owner")),
    (changed(amount_minor=MINIMUM), "amount_minor", ("maximum loosened", "consumers"), ("maximum tightened", "owner")),
    (changed(amount_minor=MAXIMUM), "amount_minor", ("minimum loosened", "consumers"), ("minimum tightened", "owner")),
    (changed(code=CODE | {"minLength": 0}), "code", ("minLength loosened", "consumers"), ("minLength tightened", "owner")),
    (changed(code=CODE | {"maxLength": 10}), "code", ("maxLength loosened", "consumers"), ("maxLength tightened", "owner")),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "where", "there", "back"), BOTH_WAYS)
def test_a_change_is_named_both_ways(schema, where, there, back):
    for old, new, (says, first) in ((SCHEMA, schema, there), (schema, SCHEMA, back)):
        [(place, what, who)] = found(old, new)
        assert (place, who) == (where, first)
        assert says in what


def test_a_change_inside_a_shared_record_is_named_at_each_place_of_it():
    wider = with_line(number={"type": "integer", "minimum": 1})
    assert found(SCHEMA, wider) == [(at, "minimum tightened from None to 1", "owner") for at in ("lines[].number", "head.number")]
    optional = with_line(text=NEW)
    assert found(SCHEMA, optional) == [(at, "optional field added", "any") for at in ("lines[].text", "head.text")]


def test_prose_and_names_of_records_change_nothing():
    schema = json.loads(json.dumps(SCHEMA).replace("Line", "Row"))
    schema |= {"description": "other words", "title": "Other"}
    assert found(SCHEMA, schema) == []


def test_an_event_that_comes_or_goes_is_named():
    assert found(SCHEMA, SCHEMA) == []
    nothing, one = Contracts({}, {}), Contracts({"Made": SCHEMA}, {})
    assert [change.first for change in compare(nothing, one)] == ["any"]
    assert [change.first for change in compare(one, nothing)] == ["consumers"]


TOPIC = topics()["InvoicePaid"]


@pytest.mark.parametrize(
    ("change", "there", "back"),
    [
        ({"partitions": 12}, "neither", "neither"),
        ({"key": "customer_id"}, "neither", "neither"),
        ({"kind": "fact"}, "neither", "neither"),
        ({"aggregate": "invoice"}, "neither", "neither"),
        ({"owner": "invoicing"}, "neither", "neither"),
        ({"retention": 30}, "neither", "any"),
        ({"retention": "compacted"}, "neither", "neither"),
        ({"public": False}, "consumers", "neither"),
        ({"consumers": {**TOPIC.consumers, "scoring": []}}, "any", "any"),
    ],
)
def test_a_change_of_a_topic_is_named_both_ways(change, there, back):
    other = msgspec.structs.replace(TOPIC, **change)
    assert [(where, who) for where, _, who in found(SCHEMA, SCHEMA, TOPIC, other)] == [("topic", there)]
    assert [(where, who) for where, _, who in found(SCHEMA, SCHEMA, other, TOPIC)] == [("topic", back)]


def test_a_guard_or_a_reason_changes_nothing():
    other = msgspec.structs.replace(TOPIC, guard="origin", retention_reason="because")
    assert found(SCHEMA, SCHEMA, TOPIC, other) == []


def test_the_subset_is_what_is_understood():
    assert list(check_subset(SCHEMA)) == []


@pytest.mark.parametrize(
    "node",
    [
        {"type": "number"},
        {"type": ["string", "null"]},
        {},
        {"type": "string", "const": "x"},
        {"type": "integer", "exclusiveMinimum": 0},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        {"type": "array"},
        {"type": "object", "properties": {}},
        {"type": "object", "additionalProperties": False},
        {"type": "array", "items": {"type": "number"}},
        {"anyOf": [{"type": "number"}, {"type": "null"}]},
    ],
)
def test_what_is_beyond_the_subset_is_refused(node):
    assert list(check_subset(changed(free=node))) != []
    assert list(check_subset(with_line(number=node))) != []


@pytest.fixture
def checkout(tmp_path):
    """A repository with the contracts as they are, committed on main; returns the member's folder."""
    folder = tmp_path / "contracts"
    for name in ("schemas", "topics"):
        shutil.copytree(ROOT / name, folder / name)
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "config", "user.email", "test@example.invalid")
    git(tmp_path, "config", "user.name", "test")
    return folder


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True)  # noqa: S603, S607 - the git of the machine, our own arguments


def commit(folder, *paths):
    git(folder, "add", *paths)
    git(folder, "commit", "--quiet", "-m", "state")


def edit(folder, name, change):
    path = folder / "schemas" / f"{name}.json"
    schema = json.loads(path.read_text("utf-8"))
    change(schema)
    path.write_text(json.dumps(schema))


def test_the_command_passes_where_there_is_nothing_to_compare_with(checkout, capsys):
    assert main([], root=checkout) == 0
    assert "no commit yet" in capsys.readouterr().out
    commit(checkout, "topics")
    assert main([], root=checkout) == 0
    assert "no schemas" in capsys.readouterr().out


def test_the_command_says_who_deploys_first(checkout, capsys):
    commit(checkout, ".")
    assert main([], root=checkout) == 0
    edit(checkout, "InvoicePaid", lambda schema: schema["properties"]["status"]["enum"].append("forgiven"))
    edit(checkout, "KpiMeasured", lambda schema: schema["properties"].update(unit={"type": "string", "default": ""}))
    assert main([], root=checkout) == 1
    out = capsys.readouterr().out
    assert "BREAKING: InvoicePaid status: enum widened by ['forgiven']; first invoicing, partners, reporting; then matching" in out
    assert "fine: KpiMeasured unit: optional field added; any order" in out
    assert "2 changes, 1 of them breaking" in out


def test_the_command_passes_a_new_optional_field_and_names_a_removed_event(checkout, capsys):
    commit(checkout, ".")
    edit(checkout, "KpiMeasured", lambda schema: schema["properties"].update(unit={"type": "string", "default": ""}))
    assert main(["--base", "HEAD"], root=checkout) == 0
    (checkout / "schemas" / "KpiMeasured.json").unlink()
    (checkout / "topics" / "KpiMeasured.yaml").unlink()
    assert main(["--base", "HEAD"], root=checkout) == 1
    assert "KpiMeasured: event removed; first partners; then reporting" in capsys.readouterr().out


def test_a_checkout_without_main_does_not_pass_unseen(checkout, capsys):
    commit(checkout, ".")
    git(checkout, "branch", "--quiet", "-m", "topic")
    assert main([], root=checkout) == 2
    assert "--base" in capsys.readouterr().out


def test_an_unknown_base_is_an_error_and_not_a_pass(checkout, capsys):
    commit(checkout, ".")
    assert main(["--base", "nowhere"], root=checkout) == 2
    assert "cannot read nowhere" in capsys.readouterr().out


def test_the_working_tree_is_what_lies_there():
    found = working_tree()
    assert found.schemas.keys() == found.topics.keys() == topics().keys()
    assert found.topics == topics()
