"""`python -m shared.openapi NAME...`: writes each service's OpenAPI document into contracts/openapi, without a server."""

import importlib
import sys

from contracts.generate import write_openapi

from shared.service import Service, api, open_runtime


def document(service: Service) -> dict[str, object]:
    """The OpenAPI document of a service, as its API would serve it."""
    settings = service.settings.model_validate(
        {
            "database_url": "postgresql://nobody@127.0.0.1/none",
            "kafka_bootstrap_servers": "127.0.0.1:1",
            "cursor_secret": "0" * 32,
            "jwt_jwks_url": "https://issuer.invalid/jwks",
            "jwt_public_key_file": None,
        }
    )
    found: dict[str, object] = api(open_runtime(service, settings)).openapi()
    return found


def main(names: list[str]) -> None:
    """Writes the documents of the named services."""
    for name in names:
        write_openapi(name, document(importlib.import_module(f"{name}.cli").SERVICE))


if __name__ == "__main__":
    main(sys.argv[1:])
