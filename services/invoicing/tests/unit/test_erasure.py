from datetime import date

from invoicing.domain.erasure import Owed, Vouchers, hindrances

TODAY = date(2037, 1, 1)


def codes(*, owed=(), untold=0, vouchers=()):
    return [each.code for each in hindrances(owed, untold, vouchers, TODAY)]


def test_what_is_owed_either_way_hinders():
    assert codes(owed=[Owed("EUR", 0, 0, 0)]) == []
    assert codes(owed=[Owed("EUR", 1, 0, 0), Owed("JPY", 0, 1, 0)]) == ["owed", "owed-to-customer"]
    assert codes(owed=[Owed("KWD", 0, 0, 1)]) == ["owed-to-customer"]
    assert codes(untold=2) == ["balance-unknown"]


def test_the_law_keeps_what_only_we_name_and_an_unknown_law_is_not_guessed():
    # Code de commerce, article L123-22: ten years; a financial year that began in 2025 has closed by the end of 2026
    assert codes(vouchers=[Vouchers("FR", None, 1, date(2026, 1, 1))]) == ["retention"]
    assert codes(vouchers=[Vouchers("FR", None, 1, date(2025, 12, 31))]) == []
    assert codes(vouchers=[Vouchers("XK", None, 1, date(1999, 1, 1))]) == ["retention-unknown"]
    assert codes(vouchers=[Vouchers("XK", 0, 1, TODAY)]) == []
    assert codes(vouchers=[Vouchers("XK", 12, 1, date(2024, 5, 1))]) == ["retention"]
