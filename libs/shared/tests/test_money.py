from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from shared.money import MAX_MINOR, exponent, format_amount, parse_amount

CURRENCIES = st.sampled_from(["EUR", "JPY", "KWD", "CLF", "USD", "CHF"])


@given(st.integers(-MAX_MINOR, MAX_MINOR), CURRENCIES)
def test_parse_is_the_inverse_of_format(minor: int, currency: str) -> None:
    assert parse_amount(format_amount(minor, currency), currency) == minor


@given(st.decimals(-(10**18), 10**18, places=4), CURRENCIES)
@example(Decimal(10**14), "CLF")
@example(Decimal(10**14) - Decimal("0.0001"), "CLF")
def test_what_is_parsed_is_exactly_what_was_written_or_refused(amount: Decimal, currency: str) -> None:
    scaled = amount.scaleb(exponent(currency))
    if scaled == scaled.to_integral_value() and abs(scaled) <= MAX_MINOR:
        assert parse_amount(f"{amount:f}", currency) == scaled
    else:
        with pytest.raises(ValueError, match=r"decimal places|too large"):
            parse_amount(f"{amount:f}", currency)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("1.500", "EUR", 150),
        ("0", "EUR", 0),
        ("-0", "EUR", 0),
        ("0.05", "EUR", 5),
        ("7", "JPY", 7),
        ("7.0", "JPY", 7),
        ("1.234", "KWD", 1234),
    ],
)
def test_plain_decimals_are_taken(text: str, currency: str, minor: int) -> None:
    assert parse_amount(text, currency) == minor


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1\n", "+1", "--1", "1,50", "1.", ".5", "01", "1_000", "0x10", "1e3", "1E400", "NaN", "Infinity"]
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an amount is written as"):
        parse_amount(text, "EUR")


@pytest.mark.parametrize("text", ["1.00001", "1.005", "10000000000000000.00", "9" * 30, "\uff11\uff12", "\u0661", "\u22121"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|decimal"):
        parse_amount(text, "EUR")


@pytest.mark.parametrize("currency", ["", "eur", "EU", "XXX", "XAU", "ZZZ", "EUR\n"])
def test_a_code_without_minor_unit_is_refused(currency: str) -> None:
    with pytest.raises(ValueError, match=r"currency code|no minor unit"):
        parse_amount("1", currency)
