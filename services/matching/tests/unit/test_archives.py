"""Archives: what is in them, in order, or a refusal."""

import gzip
import io
import zipfile

import bank_samples as samples
import pytest
from bank_samples import everything
from matching.bankfiles import BankFileError
from matching.bankfiles.archives import unpacked


def zipped(*files: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return packed.getvalue()


def test_an_archive_is_the_files_in_it_in_the_order_of_their_names():
    packed = zipped(("b/2.txt", samples.mt940().encode()), ("b/", b""), ("a/1.xml", samples.camt().encode()))
    statements, found = everything(packed)
    assert [one.kind for one in statements] == ["camt.053", "MT940"]
    assert found == everything(samples.camt().encode())[1] + everything(samples.mt940().encode())[1]
    assert everything(gzip.compress(samples.coda().encode())) == everything(samples.coda().encode())


def test_what_macos_packs_beside_the_files_is_passed_over():
    packed = zipped(("__MACOSX/._1.xml", b"\0\5\x16\7"), ("a/.DS_Store", b"\0\0\0\1Bud1"), ("1.xml", samples.camt().encode()))
    assert everything(packed) == everything(samples.camt().encode())


def damaged() -> bytes:
    packed = bytearray(zipped(("1.xml", samples.camt().encode())))
    packed[60:80] = b"x" * 20
    return bytes(packed)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (zipped(), "no file in the archive"),
        (zipped(("a/", b"")), "no file in the archive"),
        (zipped(("__MACOSX/._1.xml", b"\0\5\x16\7")), "no file in the archive"),
        (zipped(("1.zip", zipped(("1.xml", samples.camt().encode())))), "file 1 of the archive: an archive in an archive"),
        (gzip.compress(gzip.compress(samples.coda().encode())), "file 1 of the archive: an archive in an archive"),
        (zipped(("1.xml", samples.camt().encode()), ("2.txt", b"read me")), "file 2 of the archive"),
        (zipped(("1.xml", samples.camt().encode()))[:-40], "damaged"),
        (damaged(), "damaged"),
        (gzip.compress(samples.coda().encode())[:-9], "damaged"),
        (zipped(*((f"{n}.txt", b"") for n in range(1_001))), "more than 1000 files"),
    ],
)
def test_an_archive_that_cannot_be_read_whole_is_refused(data, why):
    with pytest.raises(BankFileError, match=why):
        everything(data)


def test_an_archive_that_would_burst_is_refused_before_it_does():
    with pytest.raises(BankFileError, match="more than 1000 bytes"):
        list(unpacked(io.BytesIO(zipped(("1.xml", b" " * 100_000))), 1_000))
