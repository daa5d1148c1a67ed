"""Every JSON body and every JSON answer of the OpenAPI document has an example, and each example fits its schema."""

import pytest
from invoicing.cli import SERVICE
from jsonschema import Draft202012Validator
from shared.openapi import document

DOCUMENT = document(SERVICE)


def lenient(part):
    """A schema that asks for no member: the framework leaves out of an example whatever is null in it."""
    if isinstance(part, dict):
        return {name: lenient(value) for name, value in part.items() if name != "required" or not isinstance(value, list)}
    return [lenient(each) for each in part] if isinstance(part, list) else part


LENIENT = lenient(DOCUMENT)


def shapes():
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            told = {"body": operation.get("requestBody", {})} | {
                status: answer for status, answer in operation["responses"].items() if status.startswith("2")
            }
            for where, said in told.items():
                if (content := said.get("content", {}).get("application/json")) is not None:
                    yield pytest.param(content["schema"], id=f"{method} {path} {where}")


@pytest.mark.parametrize("schema", list(shapes()))
def test_an_example_fits_its_schema(schema):
    named = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert named["examples"]
    for example in named["examples"]:
        Draft202012Validator({**LENIENT, **schema}).validate(example)
