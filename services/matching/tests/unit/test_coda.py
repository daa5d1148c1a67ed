"""CODA: totals inside of totals, signs, direct debits."""

import io

import bank_samples as samples
import pytest
from bank_samples import everything
from matching.bankfiles import detect


def coda_record(detail: int, kind: str, amount: int, reference: str) -> str:
    return f"{f'210001{detail:04d}{reference:<21}0{amount:015d}020326{kind}01500000{reference:<53}02032606100 0':<128}\n"


@pytest.mark.parametrize("name", ["coda"])
def test_a_sign_that_is_none_is_never_taken_for_a_debit(name):
    text = samples.ALL[name]()
    for wrong in (
        text.replace("1000000000050500020326", "X000000000050500020326"),
        text.replace("EUR0000000001145500", "EUR2000000001145500"),
    ):
        if wrong != text:
            assert everything(wrong.encode())[0][0].verdict() is not None
    broken = text.replace("0000000000050500020326", "X000000000050500020326")
    assert broken != text
    assert everything(broken.encode())[0][0].verdict()[0] == "entry_differs"


def test_a_total_inside_of_a_collective_booking_gives_way_to_what_it_is_made_of():
    day = samples.coda().splitlines(keepends=True)
    head, opening = day[:2]
    closing, last = day[-2:]
    parts = [
        coda_record(0, "2", 150_500, "WHOLE"),
        coda_record(1, "7", 100_000, "SUB"),
        coda_record(2, "9", 60_000, "A"),
        coda_record(3, "9", 40_000, "B"),
        coda_record(4, "6", 50_500, "C"),
    ]
    closing = closing.replace("1145500", "1150500")
    last = last[:22] + f"{0:015d}" + last[37:]
    (statement,), found = everything("".join([head, opening, *parts, closing, last]).encode())
    assert statement.verdict() is None
    assert [(one.bank_reference, one.signed_minor) for one in found] == [("A", 6_000), ("B", 4_000), ("C", 5_050)]


def test_the_total_of_a_level_gives_way_to_its_parts():
    """Globalisation codes: the first record with one is a total, the last with it ends its parts; a level may hold another."""
    head, opening, *_, closing, last = samples.coda().splitlines(keepends=True)

    def record(detail: int, kind: str, amount: int, reference: str, level: str) -> str:
        line = coda_record(detail, kind, amount, reference)
        return line[:124] + level + line[125:]

    parts = [
        record(0, "2", 150_500, "WHOLE", "1"),
        record(1, "6", 100_000, "SUB", "2"),
        record(2, "6", 70_000, "SUBSUB", "3"),
        record(3, "6", 60_000, "A", "0"),
        record(4, "6", 10_000, "B", "3"),
        record(5, "6", 30_000, "C", "2"),
        record(6, "6", 50_500, "D", "1"),
    ]
    last = last[:22] + f"{0:015d}" + last[37:]
    (statement,), found = everything("".join([head, opening, *parts, closing.replace("1145500", "1150500"), last]).encode())
    assert statement.verdict() is None
    assert [(one.bank_reference, one.signed_minor) for one in found] == [("A", 6_000), ("B", 1_000), ("C", 3_000), ("D", 5_050)]
    assert {one.kind for one in found} == {"payment"}


def test_a_coda_day_without_movements_needs_no_new_balance():
    head, opening, *_, last = samples.coda().splitlines(keepends=True)
    nothing = last[:16] + "000001" + "0" * 30 + last[52:]
    (statement,), found = everything((head + opening + nothing).encode())
    assert (statement.verdict(), statement.closing_minor, found) == (None, statement.opening_minor, [])
    unmarked = head[:14] + "00" + head[16:]
    assert detect(io.BytesIO((unmarked + opening + nothing).encode())) == "coda"
    cut = last[:16] + "000002" + "0" * 30 + last[52:]
    assert everything((head + opening + cut).encode())[0][0].verdict()[0] == "balance_missing"


def coda_direct_debit(flag: str, why: str) -> str:
    """A structured communication of type 127 over records 2.1 to 2.3: date, type, scheme, flag, creditor, mandate, text, why."""
    text = f"02032612{flag}{'BE68ZZZ0123456789':<35}{'M-1':<35}{'Facture F-7':<62}{why:<5}"
    first = f"2100010000{'A':<21}1{5_000:015d}020326005050001127{text[:50]}02032606101 0"
    return f"{first:<128}\n{'2200010000' + text[50:103]:<125}1 0\n{'2300010000' + ' ' * 72 + text[103:]:<125}0 0\n"


@pytest.mark.parametrize(("flag", "why", "reason"), [("0", "", None), ("3", "", "unknown"), ("1", "1", "reject"), ("2", "2MD01", "MD01")])
def test_a_belgian_direct_debit_says_whether_it_was_paid_and_why_not(flag, why, reason):
    day = samples.coda().splitlines(keepends=True)
    _, (one,) = everything("".join([*day[:2], coda_direct_debit(flag, why), *day[-2:]]).encode())
    assert (one.return_reason, one.kind) == (reason, "return" if reason else "other")
    assert (one.mandate_id, one.remittance) == ("M-1", ["Facture F-7"])


@pytest.mark.parametrize(("flag", "operation", "reason"), [("0", "01", None), ("1", "01", "unknown"), ("0", "03", "unknown")])
def test_an_old_direct_debit_says_its_number_what_it_is_for_and_whether_it_was_paid(flag, operation, reason):
    """Structured communication 107 (until CODA 2.4): number, date, two zones of text, paid or why not, creditor; operation 03: unpaid."""
    text = f"740316202802030326{'F-7':<15}{'2 mars':<15}{flag}00202239951"
    first = f"2100010000{'A':<21}1{5_000:015d}020326005{operation}0001107{text[:50]}02032606101 0"
    debit = f"{first:<128}\n{'2200010000' + text[50:]:<125}0 0\n"
    day = samples.coda().splitlines(keepends=True)
    _, (one,) = everything("".join([*day[:2], debit, *day[-2:]]).encode())
    assert (one.return_reason, one.kind) == (reason, "return" if reason else "other")
    assert (one.mandate_id, one.remittance) == ("740316202802", ["F-7 2 mars"])


@pytest.mark.parametrize("operation", ["0307", "0309", "0338", "0339", "0503", "0707", "0739", "4307", "4707", "0301", "4701"])
def test_a_cheque_or_bill_that_came_back_unpaid_is_a_return(operation):
    """Families 03 and 43 are cheques, 05 direct debits, 07 and 47 bills; operation 01 is a payment of our own."""
    day = samples.coda().splitlines(keepends=True)
    first = f"2100010000{'A':<21}1{5_000:015d}0203260{operation}0000CHEQUE 7"
    debit = f"{first:<115}02032606101 0\n"
    _, (one,) = everything("".join([*day[:2], debit, *day[-2:]]).encode())
    assert (one.return_reason, one.kind) == ((None, "other") if operation.endswith("01") else ("unknown", "return"))


def test_a_customer_reference_of_zeros_is_none():
    day = samples.coda().splitlines(keepends=True)
    further = f"{'2200010000' + ' ' * 53 + '0000000':<125}0 0\n"
    _, (one,) = everything("".join([*day[:2], coda_record(0, "0", 5_000, "A"), further, *day[-2:]]).encode())
    assert one.end_to_end_id is None


def test_free_information_of_coda_is_text_and_goes_on_where_a_record_is_full():
    head, opening, first, *rest = samples.coda().splitlines(keepends=True)
    number = first[2:6]
    told = "Facture F-1001 et F-1002 du 2 mars, voir aussi notre lettre du 27 fevrier 20"[:73]
    assert len(told) == 73

    def information(kind, text, flag="0"):
        head = "BANK-1".ljust(21) + f"00150000{flag}" if kind == "31" else ""
        return f"{kind}{number}0001{head}{text}".ljust(128) + "\n"

    at = next(place for place, line in enumerate(rest) if line.startswith("21"))
    name = information("31", "001Dupont SA", flag="1") + information("32", "Rue Haute 1, 4000 Liege")
    free = information("31", told) + information("32", "26, merci") + information("31", "CONTRAT NO 7")
    text = "".join([head, opening, first, *rest[:at], name, free, *rest[at:]])
    (statement,), found = everything(text.encode())
    assert statement.verdict() is None
    assert found[0].remittance[-1] == f"{told}26, merci CONTRAT NO 7"
    assert not any("Rue Haute" in line for line in found[0].remittance)


def test_information_behind_the_parts_of_an_amount_is_that_of_the_movement():
    head, opening, *_, closing, last = samples.coda().splitlines(keepends=True)
    whole, base = coda_record(0, "3", 150_500, "WHOLE"), coda_record(1, "8", 150_500, "BASE")
    told = ("3100010002" + "WHOLE".ljust(21) + "301500000Facture F-9").ljust(128) + "\n"
    last = last[:22] + f"{0:015d}" + last[37:]
    _, (one,) = everything("".join([head, opening, whole, base, told, closing.replace("1145500", "1150500"), last]).encode())
    assert "Facture F-9" in one.remittance


@pytest.mark.parametrize(("communication", "reference"), [("090933755493", "090933755493"), ("", None), ("F-1001", None)])
def test_the_amounts_of_a_foreign_payment_are_no_text(communication, reference):
    """Structured communication 105: amount in the account's currency, in its own, rate, its currency, structured communication."""
    day = samples.coda().splitlines(keepends=True)
    said = f"{920_000:015d}{1_000_000:015d}000108695652USD{communication:<12}US{920_000:015d}"
    first = f"2100010000{'A':<21}0{900_000:015d}020326041130001105{said[:50]}02032606110 0"
    _, (one,) = everything("".join([*day[:2], f"{first:<128}\n", f"{'2200010000' + said[50:]:<125}0 0\n", *day[-2:]]).encode())
    assert (one.instructed.minor, one.instructed.currency, one.structured_reference) == (100_000, "USD", reference)
    assert one.remittance == [communication] * bool(communication and not reference)


def coda_detail(number: int, sign: str, amount: int, code: str, communication: str = "") -> str:
    structured = "1" if communication else "0"
    head = f"210001{number:04d}{'A':<21}{sign}{amount:015d}020326{code}{structured}{communication[:53]:<53}02032606110 0"
    return f"{head:<128}\n" + (f"{f'220001{number:04d}' + communication[53:]:<125}0 0\n" if communication[53:] else "")


@pytest.mark.parametrize(
    ("costs", "foreign", "charges", "instructed"),
    [
        ((4_000, 1_000), "USD", [400, 100], (100_000, "USD")),
        ((4_000, 1_000), "", [400, 100], (92_000, "EUR")),
        ((4_000, 900), "USD", [], (100_000, "USD")),  # they are not all of the difference
        ((), "USD", [], (100_000, "USD")),
    ],
)
def test_costs_and_the_amount_before_them_are_told_and_amounts_are_no_text(costs, foreign, charges, instructed):
    day = samples.coda().splitlines(keepends=True)
    gross, net = 920_000, 920_000 - sum(costs)
    said = f"105{gross:015d}{1_000_000:015d}000108695652{foreign}" if foreign else ""
    parts = [coda_detail(at, "1", minor, code) for at, (minor, code) in enumerate(zip(costs, ("84150013", "84150015"), strict=False), 2)]
    net += 100 if costs == (4_000, 900) else 0
    movement = [coda_detail(0, "0", net, "34150000"), coda_detail(1, "0", gross, "84150100", said), *parts]
    _, (one,) = everything("".join([*day[:2], *movement, *day[-2:]]).encode())
    assert (one.amount_minor, one.remittance, [charge.minor for charge in one.charges]) == (net // 10, [], charges)
    assert (one.instructed.minor, one.instructed.currency) == instructed


@pytest.mark.parametrize(
    ("type_and_reason", "reason"), [("2AC04", "AC04"), ("4MD06", "MD06"), ("1", "reject"), ("43246", None), ("00012", None)]
)
def test_digits_in_the_place_of_a_return_reason_are_none(type_and_reason, reason):
    day = samples.coda().splitlines(keepends=True)
    more = f"{'2200010000' + ' ' * 102 + type_and_reason:<125}0 0\n"
    _, (one,) = everything("".join([*day[:2], coda_record(0, "0", 5_000, "A"), more, *day[-2:]]).encode())
    assert (one.return_reason, one.reversal, one.kind) == (reason, type_and_reason == "4MD06", "other" if reason else "payment")


def one_movement(*records: str) -> str:
    """A day with one movement of 150.50, made of these records."""
    head, opening, *_, closing, last = samples.coda().splitlines(keepends=True)
    return "".join([head, opening, *records, closing.replace("1145500", "1150500"), last[:22] + f"{0:015d}" + last[37:]])


def information(kind: str, said: str) -> str:
    """Structured information behind a movement."""
    return f"{'3100010001' + 'A'.ljust(21) + '001500001' + kind + said:<128}\n"


@pytest.mark.parametrize("kind", ["1", "2"])
def test_an_amount_that_customer_or_bank_totalised_is_a_total_where_no_details_follow(kind):
    reference = f"{'2200010000' + ' ' * 53 + 'RUN-7':<125}0 0\n"
    (statement,), (one,) = everything(one_movement(coda_record(0, kind, 150_500, "A"), reference).encode())
    assert (statement.verdict(), one.kind, one.batch_id, one.end_to_end_id) == (None, "total", "RUN-7", None)
    _, (one,) = everything(one_movement(coda_record(0, kind, 150_500, "A"), information("001", "Dupont SA")).encode())
    assert (one.kind, one.counterparty_name) == ("payment", "Dupont SA")


def test_costs_of_one_payment_in_a_collective_booking_are_its_charges_and_no_payment_more():
    parts = [coda_detail(1, "0", 100_000, "74150000"), coda_detail(2, "0", 104_000, "94150100"), coda_detail(3, "1", 4_000, "94150013")]
    text = one_movement(coda_detail(0, "0", 150_500, "24150000"), *parts, coda_detail(4, "0", 50_500, "64150000"))
    (statement,), found = everything(text.encode())
    assert statement.verdict() is None
    assert [(one.amount_minor, [charge.minor for charge in one.charges]) for one in found] == [(10_000, [400]), (5_050, [])]


@pytest.mark.parametrize(("kind", "name"), [("009", "Filiale SPRL"), ("008", None)])
def test_for_whom_the_other_pays_is_told_in_coda_too(kind, name):
    _, (one,) = everything(one_movement(coda_record(0, "0", 150_500, "A"), information(kind, "Filiale SPRL".ljust(70))).encode())
    assert one.ultimate_name == name


def test_what_the_bank_says_is_text_where_nothing_else_is_said():
    said = "Versement au guichet de la poste, sans communication de la personne qu"
    more = f"{'3200010001' + 'i paie':<128}\n"
    plain = coda_record(0, "0", 150_500, "A")
    silent = plain[:62] + " " * 53 + plain[115:]
    _, (one,) = everything(one_movement(silent, information("002", said), more).encode())
    assert one.remittance == [said + "i paie"]
    _, (one,) = everything(one_movement(plain, information("002", said), more).encode())
    assert one.remittance == ["A"]
