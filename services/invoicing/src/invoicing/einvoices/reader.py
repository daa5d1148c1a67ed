"""From the bytes of a file of any format to what it says and whether it holds: the one entrance to this package's readers.

In this order: what the bytes are (content, never a name), the embedded XML of a PDF, hardened parsing, the XML schema, the
official rules that the profile picks, our own checks, and whether the amounts can enter the books.
"""

from invoicing.domain.einvoice import EInvoice, Finding, Severity
from invoicing.domain.plausibility import arithmetic
from invoicing.domain.terms import excess
from invoicing.drafts import is_plausible
from invoicing.einvoices import checks, cii, pdffile, profiles, schemas, schematron, ubl, xmlfile
from invoicing.einvoices.booking import book
from invoicing.einvoices.profiles import ZUGFERD_1, Profile
from invoicing.einvoices.reading import Reading, digest
from invoicing.einvoices.xmlfile import INVOICES, Tree, UnreadableError


def read(data: bytes) -> Reading:
    """Reads and judges a file. Never raises for what is in it; raises JarError where the rules cannot be had."""
    sha256 = digest(data)
    try:
        if pdffile.is_pdf(data):
            name, _, tree = pdffile.invoice_in(data)
            return _judged(tree, sha256)._replace(container="pdf", embedded=name)
        tree = xmlfile.parse(data)
    except UnreadableError as error:
        return Reading(error.format, "unreadable", sha256, reason=str(error))
    inner = xmlfile.contained(tree)
    if len(inner) == 1:
        return _judged(inner[0], sha256, peppol=_peppol(tree))._replace(container=tree.format)
    if inner:
        documents = tuple(_judged(each, sha256, peppol=_peppol(tree)) for each in inner)
        return Reading(tree.format, "unreadable", sha256, reason=f"holds {len(inner)} documents", documents=documents)
    return _judged(tree, sha256)


def _peppol(envelope: Tree) -> bool:
    """Whether an envelope itself says that Peppol's rules judge what is in it: a set of tests does."""
    return envelope.root.get("configuration", "").startswith("peppol")


def _judged(tree: Tree, sha256: str, *, peppol: bool = False) -> Reading:
    if tree.format not in INVOICES:
        return Reading(tree.format, "unreadable", sha256, reason=xmlfile.reason(tree))
    invoice = ubl.read(tree.root) if tree.format.startswith("ubl-") else cii.read(tree.root)
    profile = _profile(tree, invoice, peppol=peppol)
    found = [*schemas.findings(tree.root, profile.schema), *schematron.findings(tree.root, profile)]
    found += invoice.malformed
    found += arithmetic(invoice, sums=_sums(profile))
    found += checks.findings(invoice)
    found += _term(invoice)
    booked, more = book(invoice)
    if not any(each.severity == "fatal" for each in found):
        found += more
    if not profile.known:
        found.append(Finding("ENC-PROFILE", "/", "the profile is not one that is known here: judged by EN 16931 alone", "information"))
    rejected = any(each.severity == "fatal" for each in found)
    return Reading(
        tree.format,
        "rejected" if rejected else "accepted",
        sha256,
        invoice,
        None if rejected else booked,
        tuple(found),
        profile=profile.name,
        profile_known=profile.known,
        rule_sets=tuple(each.name for each in profile.rules),
    )


def _term(invoice: EInvoice) -> list[Finding]:
    """A due date beyond the maximum of the law of the seller's country: a warning, since the sum is owed all the same."""
    if invoice.is_credit or invoice.issue_date is None or invoice.due_date is None or not is_plausible(invoice.issue_date):
        return []
    beyond = excess(invoice.seller.country or "", issued=invoice.issue_date, due=invoice.due_date)
    return [Finding("ENC-TERM", f"/{invoice.root}", beyond.detail, "warning")] if beyond else []


def _sums(profile: Profile) -> Severity | None:
    """How grave a wrong sum is where EN 16931 does not say so: our word alone where there are no rules at all."""
    if any(each.binding and each.name.startswith("EN 16931") for each in profile.rules):
        return None
    return "warning" if profile.rules else "fatal"


def _profile(tree: Tree, invoice: EInvoice, *, peppol: bool) -> Profile:
    if tree.format == "zugferd-1":
        return Profile("ZUGFeRD 1.0", (), ZUGFERD_1)
    syntax: profiles.Syntax = "cii" if tree.format == "cii" else "ubl"
    named = "urn:fdc:peppol.eu:2017:poacc:billing:3.0" if peppol else invoice.profile
    return profiles.profile_of(named, syntax, invoice.root)
