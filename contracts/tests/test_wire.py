"""Bytes on the wire: what a producer writes matches its schema and reads back; what is wrong is refused by both."""

import copy
import json
from uuid import UUID

import pytest
from contracts.catalogue import events
from contracts.customers import CustomerChanged
from contracts.envelope import MAX_EVENT_BYTES, ContractError, decode, decoder, encode, event_id
from contracts.generate import schema
from contracts.kpis import KpiMeasured
from contracts.testing import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import testing

every_event = pytest.mark.parametrize("event", events().values(), ids=list(events()))
HEADERS = {example.event: example.headers for example in reversed(list(examples()))}
FULL = {example.event: json.loads(encode(decoder(events()[example.event]).decode(example.value))) for example in reversed(list(examples()))}


def strict(raw: bytes) -> object:
    """JSON as the schema's validators see it: NaN and Infinity are no JSON."""

    def refuse(constant):
        raise ValueError(constant)

    return json.loads(raw, parse_constant=refuse)


def refused_by_schema(validator, raw: bytes) -> bool:
    try:
        return not validator.is_valid(strict(raw))
    except ValueError:
        return True


def refused_by_class(event, raw: bytes) -> bool:
    try:
        decode(event, HEADERS[event.__name__], raw)
    except ContractError:
        return True
    return False


def wrong_values(name, node):
    """Values that no field of this schema may have."""
    yield {"wrong": []} if node.get("type") != "object" else "wrong"
    if name.endswith("_minor"):
        yield from (12.5, float("nan"), "12", True)
    if "minimum" in node:
        yield node["minimum"] - 1
    match node.get("format"):
        case "date-time":
            yield from ("2026-03-02T08:15:30", "2026-03-02", "yesterday")
        case "date":
            yield from ("2026-02-30", "02/03/2026")
        case "uuid":
            yield "no-uuid"
        case None if "pattern" in node:
            yield from ("EUR\n", "\N{NULL}")
    if "enum" in node:
        yield "no such value"
    if "maxLength" in node:
        yield "x" * (node["maxLength"] + 1)


def mutations(data, node, document, at="$"):
    """Every wrong variant of `data` with the place of its fault: a field dropped, or one value replaced."""
    for name, child in node["properties"].items():
        if name in node["required"]:
            yield f"{at}.{name} dropped", {key: value for key, value in data.items() if key != name}
        options = [each for each in child.get("anyOf", [child]) if each != {"type": "null"}]
        inner = document["$defs"][options[0]["$ref"].rpartition("/")[2]] if "$ref" in options[0] else options[0]
        for value in wrong_values(name, inner):
            yield f"{at}.{name} = {value!r:.30}", {**data, name: value}
        if inner.get("type") == "object" and data[name] is not None:
            for place, changed in mutations(data[name], inner, document, f"{at}.{name}"):
                yield place, {**data, name: changed}
        if inner.get("type") == "array" and data[name] and "$ref" in inner["items"]:
            element = document["$defs"][inner["items"]["$ref"].rpartition("/")[2]]
            for place, changed in mutations(data[name][0], element, document, f"{at}.{name}[0]"):
                yield place, {**data, name: [changed, *data[name][1:]]}


@every_event
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(data=st.data())
def test_what_a_producer_writes_matches_the_schema_and_reads_back(event, data, validator):
    made = data.draw(testing.events(event))
    raw = encode(made)
    validator(event.__name__).validate(strict(raw))
    assert decoder(event).decode(raw) == made


@every_event
def test_wrong_bytes_are_refused_by_schema_and_class(event, validator):
    document = schema(event)
    wrong = list(mutations(FULL[event.__name__], document, document))
    assert len(wrong) > len(document["properties"])
    raws = [(place, json.dumps(data, ensure_ascii=False).encode()) for place, data in wrong]
    assert [place for place, raw in raws if not refused_by_schema(validator(event.__name__), raw)] == []
    # the header ce_type names the event, so a consumer does not insist on the same name in the data
    assert [place for place, raw in raws if not refused_by_class(event, raw)] == ["$.event dropped"]


@every_event
@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{", b"{}", b"\xff\xfe", b'{"event":"\xff"}', b'{"event":"SomethingElse"}'])
def test_what_is_no_event_is_refused(event, raw, validator):
    assert refused_by_class(event, raw)
    assert refused_by_schema(validator(event.__name__), raw)


def test_a_whole_number_written_as_a_float_is_no_money():
    raw = json.dumps({**FULL["PaymentReceived"], "amount_minor": 450000.0}).encode()
    assert refused_by_class(events()["PaymentReceived"], raw)


@every_event
def test_a_consumer_ignores_fields_it_does_not_know_and_a_producer_may_not_write_them(event, validator):
    data = copy.deepcopy(FULL[event.__name__])
    known = decoder(event).decode(json.dumps(data))
    data["added_later"] = {"by": ["a", "new", "producer"]}
    for value in list(data.values()):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value[0]["added_later"] = 1
    assert decoder(event).decode(json.dumps(data)) == known
    assert not validator(event.__name__).is_valid(data)


@pytest.mark.parametrize(
    "wrong", [{"numerator": 1.5}, {"numerator": float("nan")}, {"currency": "euro"}, {"currency": "EUR\n"}, {"as_of": "today"}]
)
def test_a_producer_cannot_encode_what_its_class_refuses(wrong):
    right = decoder(KpiMeasured).decode(json.dumps(FULL["KpiMeasured"]))
    values = {name: getattr(right, name) for name in right.__struct_fields__} | wrong
    with pytest.raises(ContractError, match="KpiMeasured"):
        encode(KpiMeasured(**values))


def test_an_event_beyond_the_size_limit_is_refused_on_both_sides():
    data = {**FULL["CustomerChanged"], "company_ids": [{"scheme": "vat", "value": "x" * 500}] * 200}
    raw = json.dumps(data).encode()
    assert len(raw) > MAX_EVENT_BYTES
    assert refused_by_class(CustomerChanged, raw)
    with pytest.raises(ContractError, match=str(MAX_EVENT_BYTES)):
        encode(decoder(CustomerChanged).decode(raw))


@pytest.mark.parametrize(
    ("header", "value"),
    [("ce_id", b"1"), ("ce_time", b"2026-03-02T08:15:30"), ("ce_time", b"soon"), ("ce_tenantid", b""), ("ce_type", b"InvoicePaid"),
     ("ce_specversion", b"0.3"), ("ce_source", b"\xff"), ("ce_sequence", b"99"), ("ce_sequence", b"x"), ("ce_entityid", b"x")],
)  # fmt: skip
def test_a_wrong_header_is_refused_by_name(header, value):
    changed = [(name, value if name == header else was) for name, was in HEADERS["PaymentReceived"]]
    with pytest.raises(ContractError, match=header):
        decode(events()["PaymentReceived"], changed, json.dumps(FULL["PaymentReceived"]).encode())


def test_an_id_follows_from_tenant_event_and_parts_alone():
    tenant, other = UUID(int=1), UUID(int=2)
    ids = {
        event_id(tenant, KpiMeasured, "a", 1),
        event_id(other, KpiMeasured, "a", 1),
        event_id(tenant, CustomerChanged, "a", 1),
        event_id(tenant, KpiMeasured, "a1", ""),
    }
    assert len(ids) == 4
    assert event_id(tenant, KpiMeasured, "a", 1) in ids
