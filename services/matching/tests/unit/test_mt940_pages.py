"""MT940: pages of a statement, accounts of a file."""

from bank_samples import everything


def test_a_page_or_an_account_that_follows_without_a_reference_is_a_statement_of_its_own():
    text = (
        ":20:R\n:25:NL91ABNA0417164300\n:28C:7/1\n:60F:C260301EUR10,00\n:62M:C260302EUR10,00\n"
        ":28C:7/2\n:60M:C260302EUR10,00\n:61:2603020302C5,00NTRFA//B1\n:62F:C260302EUR15,00\n"
        ":25:NL20INGB0001234567\n:28C:8/1\n:60F:C260301EUR1,00\n:61:2603020302C2,00NTRFA//B2\n:62F:C260302EUR3,00\n:64:C260302EUR3,00\n"
    )
    statements, found = everything(text.encode())
    assert [(one.account[:8], one.number, one.opening_minor, one.closing_minor, one.verdict()) for one in statements] == [
        ("NL91ABNA", "7/1", 1000, 1000, None),
        ("NL91ABNA", "7/2", 1000, 1500, None),
        ("NL20INGB", "8/1", 100, 300, None),
    ]
    assert [one.bank_reference for one in found] == ["B1", "B2"]
