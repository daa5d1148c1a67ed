"""The issuer of tokens for one machine: an Ed25519 key pair in the data folder, and the tokens signed with it.

In production any OIDC issuer takes its place; the services only ever see the public key.
"""

import os
from datetime import datetime, timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ISSUER = "encours-one-machine"
AUDIENCE = "encours"
SUBJECT = "first-steps"
"""Whom a token is for where nothing else is said."""


class Issuer:
    """The key pair in `folder`, made on first use."""

    def __init__(self, folder: Path) -> None:
        self._private = folder / "jwt-private.pem"
        self.public_key_file = folder / "jwt-public.pem"
        if not self._private.exists():
            folder.mkdir(parents=True, exist_ok=True)
            key = Ed25519PrivateKey.generate()
            pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            write_secret(self._private, pem.decode())
        public = self._key().public_key()
        self.public_key_file.write_bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))

    def token(self, *, tenant_id: str, scope: str, now: datetime, subject: str = SUBJECT, hours: int = 12) -> str:
        """A bearer token for `tenant_id` with `scope` (scopes separated by spaces), valid for `hours` from `now`."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "tenant_id": tenant_id,
            "scope": scope,
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(hours=hours)).timestamp()),
        }
        return jwt.encode(claims, self._key(), algorithm="EdDSA")

    def _key(self) -> Ed25519PrivateKey:
        key = serialization.load_pem_private_key(self._private.read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError(f"{self._private} holds no Ed25519 key")
        return key


def write_secret(file: Path, text: str) -> None:
    """Write `text` to a file that only its owner may read, whole or not at all."""
    temporary = file.with_name(file.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    temporary.replace(file)
