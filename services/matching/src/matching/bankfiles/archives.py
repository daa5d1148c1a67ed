"""Files that come packed: a ZIP archive, as EBICS delivers camt (order types C52, C53, C54, Z53), or one gzip file.

Each file in an archive is read as if it came by itself, in the order of their names; what macOS adds is none. Bounds: what is declared and
what really comes out are both counted, against the same limits as an unpacked file; an archive in an archive is refused, as is a password.
"""

import gzip
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from matching.bankfiles.errors import BankFileError

MAX_FILES = 1_000
_ZIP, _GZIP = frozenset({b"PK\x03\x04", b"PK\x05\x06"}), b"\x1f\x8b"
"""How they begin; a ZIP archive without any file begins with the end of its directory."""
_OF_THE_MAC = re.compile(r"^__MACOSX/|(?:^|/)\.DS_Store$")
"""What macOS packs beside the files: their attributes, and how a folder was shown."""
_PIECE = 1024 * 1024
_IN_MEMORY = 16 * 1024 * 1024
_ENCRYPTED = 0x1
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, OverflowError, IndexError, struct.error)
"""What the library raises where offsets, lengths, checksums or names in an archive are wrong: found by breaking some."""


def is_packed(file: BinaryIO) -> str | None:
    """`zip` or `gzip`, by content; None for anything else."""
    file.seek(0)
    head = file.read(4)
    return "zip" if head in _ZIP else "gzip" if head[:2] == _GZIP else None


def unpacked(file: BinaryIO, most: int) -> Iterator[BinaryIO]:
    """The files in an archive, one at a time, of at most `most` bytes together. Raises BankFileError."""
    file.seek(0)
    try:
        if is_packed(file) == "gzip":
            file.seek(0)
            # to be read, it is said: else the library takes the mode of the file, and that of an upload's is to write
            with gzip.GzipFile(fileobj=file, mode="rb") as packed, _copied(cast("BinaryIO", packed), most) as (copy, _):
                yield copy
            return
        with zipfile.ZipFile(file) as archive:
            yield from _members(archive, most)
    except BankFileError:
        raise
    except _BROKEN as error:
        raise BankFileError("the archive is damaged") from error


def _members(archive: zipfile.ZipFile, most: int) -> Iterator[BinaryIO]:
    files = (one for one in archive.infolist() if not (one.is_dir() or _OF_THE_MAC.search(one.filename)))
    members = sorted(files, key=lambda one: one.filename)
    if not members:
        raise BankFileError("no file in the archive")
    if len(members) > MAX_FILES:
        raise BankFileError(f"an archive of more than {MAX_FILES} files")
    if any(one.flag_bits & _ENCRYPTED for one in members):
        raise BankFileError("the archive has a password")
    if any(one.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for one in members):
        raise BankFileError("the archive is packed in a way that is not read: only deflate is")
    left = most
    for member in members:
        with archive.open(member) as packed, _copied(cast("BinaryIO", packed), left) as (copy, size):
            left -= size
            yield copy


@contextmanager
def _copied(packed: BinaryIO, most: int) -> Iterator[tuple[BinaryIO, int]]:
    """A file unpacked beside, for readers go back to its start."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        size = 0
        while piece := packed.read(_PIECE):
            size += len(piece)
            if size > most:
                raise BankFileError(f"the archive holds more than {most} bytes")
            copy.write(piece)
        yield cast("BinaryIO", copy), size
