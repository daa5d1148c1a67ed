"""The schemas of ISO 20022, as the package `pain001` ships them: tests read nothing else of it."""

from functools import cache
from importlib.metadata import distribution

from lxml import etree

_PLACES = {"pain.001": "pain001/templates/{0}/{0}.xsd", "pain.002": "pain001/pain002/schemas/{0}.xsd"}


@cache
def _schema(message: str) -> etree.XMLSchema:
    return etree.XMLSchema(file=str(distribution("pain001").locate_file(_PLACES[message[:8]].format(message))))


def valid(data: bytes) -> etree._Element:
    """The document, where it is valid against the schema of the message that its namespace names; else raises DocumentInvalid."""
    document = etree.fromstring(data)
    _schema(etree.QName(document).namespace.rpartition(":")[2]).assertValid(document)
    return document
