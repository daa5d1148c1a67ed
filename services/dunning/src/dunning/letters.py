"""The mail of a reminder: text and HTML, in the customer's language.

Invariants: templates run in a sandbox, HTML is escaped, and whatever comes from outside is one line before it reaches a
header; the same reminder always renders to the same bytes (its Date is the decision's moment, its Message-ID the reminder's).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Literal
from uuid import UUID

from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from shared.money import format_amount

Language = Literal["fr", "en"]
TEMPLATES = ("courtesy", "reminder", "second_reminder", "formal_notice")
FORMAL_NOTICE = "formal_notice"
_FRENCH = {"FR", "MC"}
_NUMBERS_SHOWN = 3
_LONGEST_SUBJECT = 150
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?){1,126}", re.ASCII)

_LABELS: Mapping[Language, Mapping[str, str]] = {
    "fr": {
        "greeting": "Madame, Monsieur,",
        "invoice": "Facture",
        "issued": "émise le",
        "due": "échéance",
        "amount": "montant dû",
        "reference": "référence",
        "total": "Total :",
    },
    "en": {
        "greeting": "Dear Sir or Madam,",
        "invoice": "Invoice",
        "issued": "issued",
        "due": "due",
        "amount": "amount due",
        "reference": "reference",
        "total": "Total:",
    },
}


def _environment(*, html: bool) -> SandboxedEnvironment:
    return SandboxedEnvironment(
        loader=PackageLoader("dunning"),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
        auto_reload=False,
    )


_TEXT, _HTML = _environment(html=False), _environment(html=True)


@dataclass(frozen=True, slots=True)
class LetterLine:
    """One instalment as the letter shows it."""

    invoice_number: str
    issue_date: date
    due_date: date
    asked_minor: int
    reference: str | None
    account: str | None


@dataclass(frozen=True, slots=True)
class Letter:
    """What a reminder says. Amounts in minor units of `currency`; interest and compensation None where none is stated."""

    reminder_id: UUID
    template: str
    language: Language
    sender_name: str
    sender_email: str
    recipient: str
    currency: str
    lines: Sequence[LetterLine]
    interest_minor: int | None
    compensation_minor: int | None
    as_of: date
    today: date
    decided_at: datetime


def is_address(text: str) -> bool:
    """Whether a text is a plain ASCII mail address: nothing else is ever put on an envelope or in a header."""
    return len(text) <= 254 and _ADDRESS.fullmatch(text) is not None  # noqa: PLR2004 - RFC 5321's longest path


def recipient_of(contacts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The contact a reminder goes to: the first of role `dunning`, else `billing`, who consented and has an address."""
    for role in ("dunning", "billing"):
        for contact in contacts:
            if contact.get("role") == role and contact.get("consent") is True and is_address(contact.get("email") or ""):
                return contact
    return None


def language_of(*preferences: str | None, country: str | None) -> Language:
    """French for those who ask for it, or who say nothing and live where it is the law's language; else English."""
    for preference in preferences:
        if preference:
            return "fr" if preference.lower().startswith("fr") else "en"
    return "fr" if country in _FRENCH else "en"


def message_id(reminder_id: UUID, sender_email: str) -> str:
    """The deterministic Message-ID: the same reminder has the same one, whoever sends it and however often."""
    return f"<{reminder_id}@{sender_email.rpartition('@')[2]}>"


def render(letter: Letter) -> bytes:
    """The mail as it goes over SMTP (CRLF, RFC 5322)."""

    def money(minor: int) -> str:
        return _money(minor, letter.currency, letter.language)

    def day(value: date) -> str:
        return _day(value, letter.language)

    numbers = list(dict.fromkeys(_one_line(line.invoice_number) for line in letter.lines))
    shown = ", ".join(numbers[:_NUMBERS_SHOWN]) + (f" (+{len(numbers) - _NUMBERS_SHOWN})" if len(numbers) > _NUMBERS_SHOWN else "")
    values = {
        "language": letter.language,
        "labels": _LABELS[letter.language],
        "sender": _one_line(letter.sender_name),
        "numbers": shown,
        "total": money(sum(line.asked_minor for line in letter.lines)),
        "interest": None if letter.interest_minor is None else money(letter.interest_minor),
        "compensation": None if letter.compensation_minor is None else money(letter.compensation_minor),
        "as_of": day(letter.as_of),
        "today": day(letter.today),
        "lines": [
            {
                "invoice_number": _one_line(line.invoice_number),
                "issued": day(line.issue_date),
                "due": day(line.due_date),
                "asked": money(line.asked_minor),
                "reference": _one_line(line.reference or ""),
                "account": _one_line(line.account or ""),
            }
            for line in letter.lines
        ],
    }
    name = f"{letter.template}.{letter.language}.j2"
    mail = EmailMessage(policy=SMTP)
    text, html = (_body(environment, name, kind, values) for environment, kind in ((_TEXT, "txt"), (_HTML, "html")))
    mail["From"] = Address(_one_line(letter.sender_name), addr_spec=letter.sender_email)
    mail["To"] = Address(addr_spec=letter.recipient)
    mail["Subject"] = _one_line(str(_TEXT.get_template(name).make_module(values).subject))[:_LONGEST_SUBJECT]  # type: ignore[attr-defined] # a module of the template's own names
    mail["Date"] = letter.decided_at
    mail["Message-ID"] = message_id(letter.reminder_id, letter.sender_email)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text)
    mail.add_alternative(html, subtype="html")
    mail.set_boundary(f"encours-{letter.reminder_id.hex}")
    return mail.as_bytes()


COPIES_MAX, COPIES_BYTES_MAX = 10, 8 * 1024 * 1024
"""What a mail carries at most: many servers refuse more than 10 MiB, and base64 makes a third more of it."""


def with_copies(mail: bytes, copies: Sequence[tuple[str, bytes]]) -> bytes:
    """A rendered mail that carries copies, as (invoice number, PDF); those beyond the bounds are left out, whole."""
    carried: list[tuple[str, bytes]] = []
    for number, data in copies:
        if len(carried) < COPIES_MAX and sum(len(each) for _, each in carried) + len(data) <= COPIES_BYTES_MAX:
            carried.append((number, data))
    if not carried:
        return mail
    message = message_from_bytes(mail, policy=SMTP)
    if not isinstance(message, EmailMessage):
        raise TypeError("the policy makes an EmailMessage")
    boundary = message.get_boundary() or "encours"
    message.make_mixed()
    for number, data in carried:
        name = re.sub(r"[^0-9A-Za-z._-]+", "-", number)[:60] or "invoice"
        message.add_attachment(data, maintype="application", subtype="pdf", filename=f"{name}.pdf")
    message.set_boundary(f"{boundary}-mixed")
    return message.as_bytes()


def _body(environment: SandboxedEnvironment, name: str, kind: str, values: Mapping[str, Any]) -> str:
    texts = environment.get_template(name).make_module(dict(values))
    return environment.get_template(f"letter.{kind}.j2").render(values, opening=texts.opening, closing=texts.closing)  # type: ignore[attr-defined] # as above


def _one_line(text: str) -> str:
    """A text without control characters or line breaks: nothing in it can start a header or a line."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _money(minor: int, currency: str, language: Language) -> str:
    amount = format_amount(minor, currency)
    whole, point, part = amount.partition(".")
    grouped = f"{int(whole):,}"
    if language == "fr":
        return f"{grouped.replace(',', ' ')}{point and ','}{part} {currency}"
    return f"{grouped}{point}{part} {currency}"


def _day(day: date, language: Language) -> str:
    return day.strftime("%d/%m/%Y") if language == "fr" else day.isoformat()
