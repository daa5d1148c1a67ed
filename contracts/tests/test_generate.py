"""What is generated is what is checked in, the same every time, and a sound AsyncAPI document."""

import json
import shutil

import pytest
import yaml
from contracts.catalogue import events, topics
from contracts.compatibility import check_subset
from contracts.generate import ROOT, asyncapi, description, differences, documents, schema, write, write_openapi
from contracts.testing import examples
from jsonschema import Draft202012Validator

REFERENCE = {"type": "object", "required": ["$ref"], "additionalProperties": False, "properties": {"$ref": {"type": "string"}}}
REFERENCES = {"type": "array", "items": REFERENCE, "minItems": 1}
TAGS = {"type": "array", "items": {"type": "object", "required": ["name"]}}
# What the AsyncAPI 3.0 specification asks of the parts that we write.
ASYNCAPI = {
    "type": "object",
    "required": ["asyncapi", "info", "channels", "operations", "components"],
    "properties": {
        "asyncapi": {"const": "3.0.0"},
        "info": {"type": "object", "required": ["title", "version"]},
        "defaultContentType": {"type": "string"},
        "channels": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["address", "messages", "bindings"],
                "properties": {
                    "address": {"type": "string"},
                    "description": {"type": "string"},
                    "messages": {"type": "object", "additionalProperties": REFERENCE, "minProperties": 1},
                    "tags": TAGS,
                    "bindings": {
                        "type": "object",
                        "required": ["kafka"],
                        "properties": {
                            "kafka": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {
                                    "topic": {"type": "string"},
                                    "partitions": {"type": "integer", "minimum": 1},
                                    "topicConfiguration": {
                                        "type": "object",
                                        "properties": {
                                            "cleanup.policy": {"type": "array", "items": {"enum": ["compact", "delete"]}},
                                            "retention.ms": {"type": "integer", "minimum": -1},
                                        },
                                    },
                                    "bindingVersion": {"type": "string"},
                                },
                            }
                        },
                    },
                },
                "patternProperties": {"^x-": {}},
                "additionalProperties": False,
            },
        },
        "operations": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["action", "channel", "messages"],
                "properties": {"action": {"enum": ["send", "receive"]}, "channel": REFERENCE, "messages": REFERENCES, "tags": TAGS},
                "patternProperties": {"^x-": {}},
                "additionalProperties": False,
            },
        },
        "components": {
            "type": "object",
            "properties": {"messages": {"type": "object"}, "schemas": {"type": "object"}},
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}


def resolve(document, reference):
    """What a reference means: a place in the document, or a file beside it."""
    if not reference.startswith("#/"):
        return json.loads((ROOT / reference).read_text("utf-8"))
    node = document
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def references(node):
    if isinstance(node, dict):
        yield from [node["$ref"]] if "$ref" in node else []
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from references(each)


def test_the_files_checked_in_are_those_generated():
    assert differences() == []


def test_generation_is_deterministic_and_repairs_every_difference(tmp_path):
    write(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(before) == len(documents()) == len(events()) + 1
    (tmp_path / "schemas" / "Gone.json").write_text("{}")
    (tmp_path / "schemas" / "KpiMeasured.json").unlink()
    (tmp_path / "asyncapi.yaml").write_text("asyncapi: 3.0.0\n")
    assert [line.partition(":")[0] for line in differences(tmp_path)] == ["schemas/KpiMeasured.json", "asyncapi.yaml", "schemas/Gone.json"]
    write(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    shutil.rmtree(tmp_path / "schemas")
    assert len(differences(tmp_path)) == len(events())


@pytest.mark.parametrize("event", events().values(), ids=list(events()))
def test_a_schema_is_valid_and_keeps_to_the_subset(event):
    made = schema(event)
    Draft202012Validator.check_schema(made)
    assert list(check_subset(made)) == []
    assert set(made["properties"]) == {"event", *event.__struct_fields__}
    assert made["description"] == description(event)
    assert "\n  " not in json.dumps(made["description"])


def test_the_asyncapi_document_is_sound_and_its_references_lead_somewhere():
    document = yaml.safe_load((ROOT / "asyncapi.yaml").read_text("utf-8"))
    assert document == asyncapi()
    Draft202012Validator(ASYNCAPI).validate(document)
    assert [reference for reference in references(document) if not resolve(document, reference)] == []


def test_the_asyncapi_document_tells_who_sends_and_who_receives():
    document = asyncapi()
    told = {(operation, each["action"], each["channel"]["$ref"].rpartition("/")[2]) for operation, each in document["operations"].items()}
    wanted = {(f"{topic.owner}.send.{name}", "send", name) for name, topic in topics().items()}
    wanted |= {(f"{who}.receive.{name}", "receive", name) for name, topic in topics().items() for who in topic.consumers}
    assert told == wanted
    assert document["channels"].keys() == topics().keys()


@pytest.mark.parametrize("example", list(examples()), ids=lambda e: f"{e.event}/{e.path.stem}")
def test_the_headers_of_an_example_match_the_asyncapi_document(example):
    document = asyncapi()
    headers = {name: value.decode() for name, value in example.headers}
    reference = document["components"]["messages"][example.event]["headers"]["$ref"]
    Draft202012Validator(resolve(document, reference)).validate(headers)


def test_an_openapi_document_is_written_in_the_one_stable_form(tmp_path):
    path = write_openapi("matching", {"openapi": "3.1.0", "info": {"title": "Zählung"}}, root=tmp_path)
    assert path == tmp_path / "openapi" / "matching.json"
    assert path.read_text("utf-8") == '{\n  "openapi": "3.1.0",\n  "info": {\n    "title": "Zählung"\n  }\n}\n'
