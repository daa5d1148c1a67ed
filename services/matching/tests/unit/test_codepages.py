"""What Polish, Czech and Hungarian banks write beside ASCII: read as they wrote it where that is sure, else as in any file."""

import io

import bank_samples as samples
import pytest
from bank_samples import everything
from matching.bankfiles import texts
from matching.bankfiles.codepages import code_page

ACCOUNTS = {"PL": "PL61109010140000071219812874", "CZ": "CZ6508000000192000145399", "HU": "HU42117730161111101800000000"}
SAID = {
    "PL": "Zap\u0142ata za us\u0142ug\u0119, \u0179d\u017ab\u0142o S.A. \u015awi\u0119ta\u0144sk\u0105",
    "CZ": "Platba za zbo\u017e\u00ed, P\u0159\u00edbram \u0160koda",
    "HU": "Sz\u00e1mla kifizet\u00e9se, F\u0151v\u00e1rosi Gy\u0171jt\u0151",
}


def mt940(country: str, said: str) -> str:
    return samples.mt940().replace("BE71096123456769", ACCOUNTS[country]).replace("Facture F-1001", said[:27])


def read(country: str, said: str, encoding: str) -> str:
    (statement,), found = everything(mt940(country, said).encode(encoding))
    assert statement.verdict() is None
    return found[0].remittance[0]


@pytest.mark.parametrize("encoding", ["cp1250", "iso8859-2", "cp852", "utf-8"])
@pytest.mark.parametrize("country", SAID)
def test_letters_are_read_as_the_bank_wrote_them(country, encoding):
    assert read(country, SAID[country], encoding) == SAID[country][:27].strip()


def test_a_word_that_happens_to_be_utf_8_is_read_as_the_bank_wrote_it():
    assert read("PL", "SP\u00d3\u0141KA AKCYJNA", "cp1250") == "SP\u00d3\u0141KA AKCYJNA"


@pytest.mark.parametrize(
    ("country", "said"),
    [
        ("PL", "M\u00e4rz \u0144".encode("cp852").replace(b"\x84", b"\xe4")),  # a Polish letter of DOS, or a German one of Windows?
        ("PL", b"20 \xb0C \xb3"),  # no letters only
        ("PL", b"Soci\xe9t\xe9 \xb3"),  # a letter that neither language has
        ("BE", b"\xb3\xb9"),  # of no such bank
    ],
)
def test_what_is_not_sure_is_read_as_any_file(country, said):
    account = ACCOUNTS.get(country, "BE71096123456769")
    data = samples.mt940().replace("BE71096123456769", account).encode().replace(b"Facture F-1001", said)
    assert code_page(io.BytesIO(data)) is None
    assert everything(data)[1][0].remittance[0] == " ".join(texts.decoded(said).split())


def test_statements_of_two_countries_in_one_file_have_no_page_in_common():
    data = mt940("PL", SAID["PL"]).encode("cp1250") + mt940("CZ", SAID["CZ"]).encode("cp1250")
    assert code_page(io.BytesIO(data)) is None


def test_a_page_is_told_by_all_of_a_file():
    """A byte that one piece of it leaves unsure another one decides, whatever stands between the pieces."""
    tail = "".join(f":61:2603020302C1,NTRFNONREF\r\n:86:166?20{'x' * 60}\r\n" for _ in range(2_000))
    data = mt940("PL", "\u0144").replace("-}", tail + ":61:2603020302C1,NTRFNONREF\r\n:86:166?20\u0119\u015b\r\n-}").encode("cp852")
    assert code_page(io.BytesIO(data)) == "cp852"
    assert code_page(io.BytesIO(mt940("PL", "\u0144").encode("cp852"))) is None
