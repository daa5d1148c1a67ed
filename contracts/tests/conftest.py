"""What the tests of the contracts share: schema validators that take formats at their word."""

from collections.abc import Callable
from datetime import datetime

import pytest
from contracts.catalogue import events
from contracts.generate import schema
from jsonschema import Draft202012Validator, FormatChecker

FORMATS = FormatChecker(("uuid", "date"))


@FORMATS.checks("date-time", raises=ValueError)
def _date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@pytest.fixture(scope="session")
def validator() -> Callable[[str], Draft202012Validator]:
    """The validator of an event's schema, by the event's name."""
    made = {name: Draft202012Validator(schema(event), format_checker=FORMATS) for name, event in events().items()}
    return made.__getitem__
