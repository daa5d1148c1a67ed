"""Norma 43: its counts."""

import bank_samples as samples
import pytest
from bank_samples import everything
from matching.bankfiles import BankFileError


def test_nothing_that_went_out_is_counted_with_what_went_out():
    text = samples.aeb43()
    nothing = f"22    0418260302260302170001{0:014d}{0:010d}{'':<12}{'BANK-4':<16}\n"
    changed = text.replace("33210", f"{nothing}33210").replace(f"{1:05d}{500:014d}", f"{2:05d}{500:014d}").replace("000008", "000009")
    (statement,), found = everything(changed.encode())
    assert (statement.verdict(), len(found)) == (None, 4)


@pytest.mark.parametrize(("stated", "read"), [(7, True), (8, True), (9, True), (10, False), (6, False)])
def test_the_end_of_norma_43_may_count_one_record_more_or_less(stated, read):
    changed = samples.aeb43().replace("000008", f"{stated:06d}").encode()
    if read:
        assert everything(changed)[0][0].verdict() is None
    else:
        with pytest.raises(BankFileError, match="the end record states"):
            everything(changed)


def test_words_in_the_place_of_references_of_norma_43_are_text():
    document = f"{'BIZUM':<12}{'BANK-1':<16}"
    record = next(line for line in samples.aeb43().splitlines() if "BANK-1" in line)
    changed = samples.aeb43().replace(record, record[:52] + document)
    _, found = everything(changed.encode())
    assert (found[0].end_to_end_id, found[0].bank_reference, found[0].remittance[0]) == (None, "BANK-1", "BIZUM")
