"""Places at which the fault tests kill the process. Without ENCOURS_FAILPOINT they cost a comparison.

ENCOURS_FAILPOINT is `NAME:N`: the Nth time that NAME (or `*`: any place) is passed, the process kills itself with SIGKILL.
ENCOURS_FAILPOINT may also be `NAME:N:SECONDS`: it then stops there for so long (a slow worker), and lives.
"""

import asyncio
import os
import signal

_ARMED = os.environ.get("ENCOURS_FAILPOINT", "")
_parts = _ARMED.split(":")
_left = int(_parts[1]) if _ARMED else 0


async def failpoint(name: str) -> None:
    """One of the places."""
    global _left  # noqa: PLW0603 - one countdown per process
    if not _ARMED or _parts[0] not in ("*", name):
        return
    _left -= 1
    if _left == 0:
        if len(_parts) > 2:  # noqa: PLR2004 - NAME:N:SECONDS
            await asyncio.sleep(float(_parts[2]))
        else:
            os.kill(os.getpid(), signal.SIGKILL)
