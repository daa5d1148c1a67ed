"""Archives (zip) of files to import: looked at before anything is unpacked, unpacked one member at a time, within bounds.

Invariants: a name never leaves the folder it is unpacked into (it is not even used as a path); what the directory says of
sizes bounds what is read, since zipfile reads no more than it; an archive in an archive, a link or a ciphered member is
refused.
"""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from invoicing.imports.records import FileError

MAX_MEMBERS = 20_000
MAX_MEMBER_BYTES = 1024 * 1024 * 1024
MAX_UNPACKED_BYTES = 4 * 1024 * 1024 * 1024
MAX_RATIO = 200
"""Unpacked to packed bytes of a member of more than a MiB: text packs to a tenth or a thirtieth, a bomb to a thousandth."""
_RATIO_FROM = 1024 * 1024
_NAME_MAX = 255
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


class Member(NamedTuple):
    """A file in an archive."""

    name: str
    size: int
    header_offset: int


def members(path: Path) -> list[Member]:
    """The files of an archive in its own order, folders left out. Raises FileError where it breaks a bound or a rule."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, OSError, NotImplementedError, EOFError):
        raise FileError("zip-broken", "the archive cannot be read") from None
    if not infos:
        raise FileError("file-empty", "the archive holds no file")
    if len(infos) > MAX_MEMBERS:
        raise FileError("zip-members", f"the archive holds more than {MAX_MEMBERS} files")
    if sum(info.file_size for info in infos) > MAX_UNPACKED_BYTES:
        raise FileError("zip-size", f"the archive unpacks to more than {MAX_UNPACKED_BYTES} bytes")
    for info in infos:
        _check(info)
    return [Member(info.filename, info.file_size, info.header_offset) for info in infos]


def _check(info: zipfile.ZipInfo) -> None:
    name = info.filename
    parts = name.replace("\\", "/").split("/")
    if len(name) > _NAME_MAX or not name.isprintable() or ".." in parts or name.startswith(("/", "\\")) or ":" in parts[0]:
        raise FileError("zip-path", "the archive holds a file whose name is a path out of it, or no name")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise FileError("zip-link", "the archive holds a link")
    if info.flag_bits & 0x1:
        raise FileError("zip-ciphered", "the archive holds a ciphered file")
    if info.compress_type not in _METHODS:
        raise FileError("zip-method", "the archive holds a file packed in a way that is not read here")
    if info.file_size > MAX_MEMBER_BYTES:
        raise FileError("zip-size", f"a file of the archive unpacks to more than {MAX_MEMBER_BYTES} bytes")
    if info.file_size > _RATIO_FROM and info.file_size > MAX_RATIO * max(info.compress_size, 1):
        raise FileError("zip-ratio", f"a file of the archive unpacks to more than {MAX_RATIO} times its size")


def unpack(path: Path, member: Member, folder: Path) -> Path:
    """A member's bytes as a file of ours, whole or absent. Raises FileError where the archive is broken there."""
    target = folder / f"member-{member.header_offset}"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    aside = target.with_suffix(".part")
    try:
        with zipfile.ZipFile(path) as archive:
            info = next(each for each in archive.infolist() if each.header_offset == member.header_offset and each.filename == member.name)
            with archive.open(info) as packed, aside.open("wb") as file:
                shutil.copyfileobj(packed, file, 1024 * 1024)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, StopIteration):
        aside.unlink(missing_ok=True)
        raise FileError("zip-broken", "this file of the archive cannot be unpacked") from None
    aside.replace(target)
    return target
