"""What a newcomer is shown when everything is up: a tenant, an entity, tokens, addresses."""

from collections.abc import Mapping
from uuid import NAMESPACE_URL, uuid5

TENANT_ID = str(uuid5(NAMESPACE_URL, "urn:encours:first-steps:tenant"))
ENTITY_ID = str(uuid5(NAMESPACE_URL, "urn:encours:first-steps:entity"))
_NOUNS = "entities invoices customers bank-accounts bank-files payments items credit dunning reports subscriptions events"
SCOPE = " ".join(f"{noun}:{verb}" for noun in _NOUNS.split() for verb in ("read", "write"))


def first_steps(urls: Mapping[str, str], token: str) -> str:
    """The text for a newcomer. `urls` is service to address, `token` a bearer token of `TENANT_ID`."""
    addresses = "\n".join(f"  {name:<10} {url}   docs at {url}/docs" for name, url in urls.items())
    return f"services\n{addresses}\n\ntenant     {TENANT_ID}\nentity     {ENTITY_ID}\n\nexport TOKEN={token}\n"
