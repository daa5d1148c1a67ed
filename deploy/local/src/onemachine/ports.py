"""Free ports of 127.0.0.1, given by name and kept in a file, so that a restart has the same addresses.

Ports are drawn below the ephemeral range: a client that tries a closed port of that range again and again may be given that very port as
its own and connect to itself, and the server can then not come back.
"""

import errno
import json
import random
import socket
from pathlib import Path

from shared.locks import exclusive

from onemachine.errors import LocalError

HOST = "127.0.0.1"
_FIRST, _LAST = 15_000, 29_999  # below Linux' 32768 and everybody else's 49152


class Ports:
    """The ports of one data folder, in `file` (JSON: name to port)."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def get(self, name: str) -> int:
        """The port of `name`; drawn and kept when it has none yet."""
        ports = self._read()
        if name not in ports:
            with exclusive(self.file.with_suffix(".lock")):  # both servers draw theirs at the same time
                ports = self._read()
                ports.setdefault(name, _draw(set(ports.values())))
                temporary = self.file.with_suffix(".new")
                temporary.write_text(json.dumps(ports, indent=1, sort_keys=True))
                temporary.replace(self.file)
        return ports[name]

    def require_free(self, name: str) -> int:
        """The port of `name`, checked to be free. Raises LocalError when another program listens there."""
        port = self.get(name)
        if not is_free(port):
            raise LocalError(
                f"port {port}, kept for {name} in {self.file}, is taken by another program: stop it, or delete that file for new ports"
            )
        return port

    def _read(self) -> dict[str, int]:
        try:
            return {str(name): int(port) for name, port in json.loads(self.file.read_text()).items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError) as error:
            raise LocalError(f"{self.file} is not readable ({error}): delete it for new ports") from error


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def _draw(taken: set[int]) -> int:
    source = random.SystemRandom()  # two stacks that start at the same moment must not draw alike
    for _ in range(1000):
        port = source.randint(_FIRST, _LAST)
        if port not in taken and is_free(port):
            return port
    raise LocalError(f"no free port of {HOST} between {_FIRST} and {_LAST}")
