"""Keys and tokens for tests."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.clock import machine_now

_KEY = Ed25519PrivateKey.generate()


def public_key_file(folder: Path) -> Path:
    """The public key of this test run, as a PEM file."""
    path = folder / "jwt.pem"
    path.write_bytes(_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return path


def token(tenant_id: UUID, *scopes: str, subject: str = "tester") -> str:
    """A bearer token of the issuer and audience `encours`, good for an hour."""
    claims = {
        "iss": "encours",
        "aud": "encours",
        "sub": subject,
        "client_id": subject,
        "tenant_id": str(tenant_id),
        "scope": " ".join(scopes),
        "exp": machine_now() + timedelta(hours=1),
    }
    return jwt.encode(claims, _KEY, algorithm="EdDSA")
