"""Where a webhook may go: public addresses only, whatever a name resolves to.

The blocks are those of the IANA special-purpose registries (RFC 6890 and its successors), with the ones that
`ipaddress.is_global` lets through: NAT64 and 6to4 can carry a private IPv4 address in clear.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_DENIED = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
        "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip


def is_public(address: str) -> bool:
    """Whether a numeric address may be called. Raises ValueError for anything but a numeric address."""
    found: IPv4Address | IPv6Address = ip_address(address.split("%", 1)[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return not any(found in block for block in _DENIED if block.version == found.version)
