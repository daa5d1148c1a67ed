"""The official stylesheets at work: compiled once per process by Saxon, run on a tree that `xmlfile` has looked at.

A stylesheet answers in SVRL (ISO/IEC 19757-3): `failed-assert` is a rule that does not hold, `successful-report` one whose
finding holds. Without a `flag` (or `role`) a rule is fatal, as in phive and KoSIT's validator.
"""

import functools
import re
from typing import Any

import saxonche
from lxml import etree

from invoicing.domain.einvoice import Finding
from invoicing.einvoices import artefacts
from invoicing.einvoices.artefacts import Artefact
from invoicing.einvoices.profiles import Profile, RuleSet, Severity

_SVRL = "{http://purl.oclc.org/dsdl/svrl}"
_TRACE = re.compile(r"<svrl:fired-rule [^<>]*/>")
_BROKEN = ("failed-assert", "successful-report")
_SEVERITIES: dict[str, Severity] = {
    "fatal": "fatal",
    "error": "fatal",
    "warning": "warning",
    "warn": "warning",
    "info": "information",
    "information": "information",
}
# Factur-X numbers its assertions; those that restate a rule of the norm name it in the text
_NAMED = re.compile(r"\[([A-Z][A-Z0-9]*(?:-[A-Z0-9]+)+)\]")
_STEP = re.compile(
    r"/(?:\*:([\w.-]+)\[namespace-uri\(\)='([^']*)'\]|(?:\w+:)?\*\[local-name\(\)='([\w.-]+)'[^\]]*\]|Q\{([^}]*)\}([\w.-]+))"
)
_PREFIXES = {
    "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2": "cac:",
    "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2": "cbc:",
    "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100": "rsm:",
    "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100": "ram:",
    "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100": "udt:",
}
_TEXT_MAX = 400


@functools.cache
def _processor() -> tuple[saxonche.PySaxonProcessor, Any]:
    processor = saxonche.PySaxonProcessor(license=False)
    return processor, processor.new_xslt30_processor()


@functools.cache
def compiled(artefact: Artefact) -> Any:
    """The executable of a stylesheet; 0.3 to 5 seconds the first time in a process."""
    _, xslt = _processor()
    if artefact.origin == "facturx":  # reads code lists that lie beside it
        return xslt.compile_stylesheet(stylesheet_file=str(artefacts.packaged(artefact.path)))
    # without the trace of the rules that were looked at, which is a tenth of the time: what fires, and when, is as published
    return xslt.compile_stylesheet(stylesheet_text=_TRACE.sub("", artefacts.read(artefact).decode()))


def findings(root: etree._Element, profile: Profile) -> list[Finding]:
    """The rules of `profile` that do not hold, in the order of its sets; one finding per rule and place."""
    processor, _ = _processor()
    document = processor.parse_xml(xml_text=etree.tostring(root, encoding="unicode"))
    found: dict[tuple[str, str], Finding] = {}
    for rules in profile.rules:
        try:
            said: str = compiled(rules.artefact).transform_to_string(xdm_node=document)
        except saxonche.PySaxonApiError:  # a stylesheet meets a structure that its author did not think of
            failed = Finding("ENC-RULES", "/", f"the structure is such that the rules of {rules.name} cannot be evaluated")
            found.setdefault((failed.rule, rules.name), failed)
            continue
        if not any(name in said for name in _BROKEN):
            continue
        for node in etree.fromstring(said.encode()).iter(*(f"{_SVRL}{name}" for name in _BROKEN)):
            finding = _finding(node, rules, profile)
            found.setdefault((finding.rule, finding.xpath), finding)
    return list(found.values())


def _finding(node: etree._Element, rules: RuleSet, profile: Profile) -> Finding:
    text = " ".join("".join(map(str, node.itertext())).split())
    rule = node.get("id") or ""
    named = _NAMED.match(text)
    if named and (not rule or rule.startswith("FX-SCH")):
        rule = named[1]
    if not rule:  # Factur-X: an element or attribute that the profile does not use
        return Finding("FX-NOT-USED", _xpath(node.get("location") or ""), text[:_TEXT_MAX], "warning", rules.name)
    said = (node.get("flag") or node.get("role") or "fatal").lower()
    severity = profile.levels.get(rule, _SEVERITIES.get(said, "fatal"))
    if not rules.binding and severity == "fatal":
        severity = "information"
    return Finding(rule, _xpath(node.get("location") or ""), text[:_TEXT_MAX], severity, rules.name)


def _xpath(location: str) -> str:
    """A location in SVRL's long form as people write it: `/Invoice/cac:TaxTotal[1]/cbc:TaxAmount[1]`."""

    def step(found: re.Match[str]) -> str:
        local = found[1] or found[3] or found[5]
        return f"/{_PREFIXES.get(found[2] or found[4] or '', '')}{local}"

    return _STEP.sub(step, location)
