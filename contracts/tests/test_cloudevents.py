"""CloudEvents on Kafka: the conformance features of the specification, and both modes for events of our own."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from contracts.catalogue import events
from contracts.cloudevents import STRUCTURED_JSON, parse, structured
from contracts.envelope import ContractError, attributes, decode
from contracts.generate import ROOT
from contracts.testing import examples
from jsonschema import Draft7Validator

VECTORS = ROOT.parents[1] / "shared" / "data" / "vectors" / "cloudevents"
FEATURE = VECTORS / "kafka-protocol-binding.feature"


class Scenario(NamedTuple):
    name: str
    payload: bytes
    headers: list[tuple[str, bytes]]
    attributes: dict[str, str]
    data: object


def scenarios(path: Path) -> Iterator[Scenario]:
    """The scenarios of a feature file, outlines unrolled. Read as simply as the file is written."""
    for block in path.read_text("utf-8").split("Scenario")[1:]:
        steps, _, outline = block.partition("Examples:")
        title = steps.splitlines()[0].partition(":")[2].strip()
        parameter, *values = [row[0] for row in table(outline)] or ["", ""]
        for value in values:
            text = steps.replace(f"<{parameter}>", value) if parameter else steps
            payload, expected = text.split('"""')[1::2]
            headers = text.split("Kafka headers:")[1].partition("When ")[0]
            wanted = text.split("attributes are:")[1].partition("And ")[0]
            yield Scenario(
                title.replace(f"<{parameter}>", value) if parameter else title,
                payload.strip().encode(),
                [(name, each.encode()) for name, each in table(headers)[1:]],
                {name: each for name, each in table(wanted)[1:]},  # noqa: C416 - pairs, checked to be pairs
                json.loads(expected),
            )


def table(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if line.strip().startswith("|")]


def test_the_kafka_conformance_features_hold():
    if not FEATURE.is_file():
        pytest.skip(f"the conformance features are not there: {FEATURE}")
    found = list(scenarios(FEATURE))
    assert len(found) == 3
    for scenario in found:
        event = parse(scenario.headers, scenario.payload)
        assert event.attributes == scenario.attributes, scenario.name
        assert json.loads(event.data) == scenario.data, scenario.name


@pytest.mark.parametrize("example", list(examples()), ids=lambda e: f"{e.event}/{e.path.stem}")
def test_our_events_read_the_same_in_both_modes(example):
    message = decode(events()[example.event], example.headers, example.value)
    document = structured(message.envelope, example.value)
    binary, one = parse(example.headers, example.value), parse([("content-type", STRUCTURED_JSON.encode())], document)
    assert binary.attributes == attributes(example.headers)
    assert one.attributes.keys() == binary.attributes.keys()
    assert {name: text for name, text in one.attributes.items() if name != "time"} == {
        k: v for k, v in binary.attributes.items() if k != "time"
    }
    assert json.loads(one.data) == json.loads(binary.data)
    if (VECTORS / "cloudevents.json").is_file():
        Draft7Validator(json.loads((VECTORS / "cloudevents.json").read_text("utf-8"))).validate(json.loads(document))


BASE = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}


def one(document, content_type=STRUCTURED_JSON):
    return parse([("Content-Type", content_type.encode())], json.dumps(document).encode())


@pytest.mark.parametrize(
    ("document", "attribute", "data"),
    [
        (BASE, {}, None),
        (BASE | {"data": None}, {}, b"null"),
        (BASE | {"data": "Hi", "datacontenttype": "text/plain; charset=utf-8"}, {"datacontenttype": "text/plain; charset=utf-8"}, b"Hi"),
        (BASE | {"data": "Hi", "datacontenttype": "application/x+json"}, {"datacontenttype": "application/x+json"}, b'"Hi"'),
        (BASE | {"data_base64": base64.b64encode(b"\x00\xff").decode()}, {}, b"\x00\xff"),
        (BASE | {"count": 5, "flag": True, "absent": None, "word": "é"}, {"count": "5", "flag": "true", "word": "é"}, None),
    ],
)
def test_structured_mode_of_any_event(document, attribute, data):
    assert one(document) == (BASE | attribute, data)


@pytest.mark.parametrize(
    ("document", "content_type", "says"),
    [
        ([BASE], "application/cloudevents-batch+json", "batch"),
        (BASE, "application/cloudevents+avro", "avro"),
        ([BASE], STRUCTURED_JSON, "not a JSON object"),
        (BASE | {"id": ""}, STRUCTURED_JSON, "attribute id"),
        (BASE | {"specversion": "0.3"}, STRUCTURED_JSON, "specversion"),
        (BASE | {"Wrong_Name": "x"}, STRUCTURED_JSON, "name"),
        (BASE | {"x": 1.5}, STRUCTURED_JSON, "attribute x"),
        (BASE | {"x": 2**31}, STRUCTURED_JSON, "attribute x"),
        (BASE | {"x": {"y": 1}}, STRUCTURED_JSON, "attribute x"),
        (BASE | {"data_base64": "?"}, STRUCTURED_JSON, "base64"),
        (BASE | {"data_base64": 5}, STRUCTURED_JSON, "base64"),
        (BASE | {"data": 1, "data_base64": "AA=="}, STRUCTURED_JSON, "both"),
        (BASE | {"data": float("nan")}, STRUCTURED_JSON, "not JSON"),
    ],
)
def test_what_is_no_event_is_refused_by_name(document, content_type, says):
    with pytest.raises(ContractError, match=says):
        one(document, content_type)


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"[" * 100_000])
def test_a_value_that_is_no_json_is_refused(value):
    with pytest.raises(ContractError, match="not JSON"):
        parse([("content-type", STRUCTURED_JSON.encode())], value)


def test_a_record_without_headers_is_no_event():
    with pytest.raises(ContractError, match="attribute id"):
        parse([], b"{}")
