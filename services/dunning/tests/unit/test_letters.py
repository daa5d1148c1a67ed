"""The mail: languages, escaping, headers that cannot be injected, the same bytes each time."""

from dataclasses import replace
from datetime import UTC, date, datetime
from email import message_from_bytes
from email.policy import default
from uuid import UUID

import pytest
from dunning.letters import TEMPLATES, Letter, LetterLine, is_address, language_of, recipient_of, render
from hypothesis import given
from hypothesis import strategies as st

LINE = LetterLine("F-1", date(2025, 1, 1), date(2025, 2, 1), 123_456, "RF18", "FR76")
LETTER = Letter(
    reminder_id=UUID(int=7),
    template="formal_notice",
    language="en",
    sender_name="Seller",
    sender_email="dun@seller.example",
    recipient="pay@debtor.example",
    currency="EUR",
    lines=[LINE],
    interest_minor=10_00,
    compensation_minor=40_00,
    as_of=date(2025, 3, 1),
    today=date(2025, 3, 2),
    decided_at=datetime(2025, 3, 2, 8, tzinfo=UTC),
)


def read(letter):
    mail = message_from_bytes(render(letter), policy=default)
    return mail, mail.get_body(("plain",)).get_content(), mail.get_body(("html",)).get_content()


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_template_renders_in_both_languages(template, language):
    mail, text, html = read(replace(LETTER, template=template, language=language))
    assert "F-1" in mail["Subject"]
    for body in (text, html):
        assert ("1 234,56 EUR" if language == "fr" else "1,234.56 EUR") in body.replace("\u202f", " ")


def test_interest_is_stated_only_where_it_is_known():
    assert "10.00 EUR" in read(LETTER)[1]
    text = read(replace(LETTER, interest_minor=None, compensation_minor=None))[1]
    assert "as provided by law" in text
    assert "40" not in text


def test_html_is_escaped_and_text_is_not():
    _, text, html = read(replace(LETTER, lines=[replace(LINE, invoice_number="<b>&F</b>")]))
    assert "<b>&F</b>" in text
    assert "&lt;b&gt;&amp;F&lt;/b&gt;" in html
    assert "<b>&F" not in html


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_starts_a_header(number, sender):
    hostile = [number, number + "\r\nBcc: all@debtor.example\r\n\r\n", "\u2028Bcc: x"]
    letter = replace(LETTER, sender_name=sender + "\nX-Evil: 1", lines=[replace(LINE, invoice_number=each) for each in hostile])
    mail = message_from_bytes(render(letter), policy=default)
    assert set(mail.keys()) == {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}
    assert mail["To"] == "pay@debtor.example"


def test_the_same_letter_is_the_same_bytes():
    assert render(LETTER) == render(LETTER)
    assert b"Message-ID: <00000000-0000-0000-0000-000000000007@seller.example>" in render(LETTER)


@pytest.mark.parametrize("bad", ["", "a", "a@b c", "a@b\r\nBcc: c@d", "a@b,c@d", "<a@b>", "é@b.example", "a@b\n"])
def test_bad_addresses_are_none(bad):
    assert not is_address(bad)


def test_the_recipient_has_the_role_consented_and_has_an_address():
    billing = {"role": "billing", "email": "b@x.example", "consent": True}
    dunning = {"role": "dunning", "email": "d@x.example", "consent": True}
    assert recipient_of([billing, dunning]) == dunning
    assert recipient_of([billing, {**dunning, "consent": False}]) == billing
    assert recipient_of([{**billing, "email": None}, {"role": "sales", "email": "s@x.example", "consent": True}]) is None


def test_the_language():
    assert language_of("fr-FR", country="DE") == "fr"
    assert language_of(None, "de", country="FR") == "en"
    assert language_of(None, None, country="FR") == "fr"
    assert language_of(None, None, country=None) == "en"
