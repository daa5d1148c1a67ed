"""`python -m toyservice.zygote`: forks the toy's processes from one that has already imported everything.

A fresh interpreter takes a second of processor time to import the service; a fork takes a millisecond, which is what makes
hundreds of kills affordable. Speaks JSON lines: in `{"argv": [...], "env": {...}, "log": path, "failpoint": text}`, out
`{"pid": n}` for each of them in turn and `{"ended": pid, "status": n}` (negative: the signal that ended it).

Invariant: this process has neither threads nor an event loop, so a fork of it is as good as a new process.
"""

import gc
import json
import os
import select
import sys
import traceback

from shared import cli, failpoints

from toyservice import handlers
from toyservice.service import SERVICE


def _child(order: dict) -> None:
    status = 1
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(order["env"])
        failpoints._ARMED = order["failpoint"]
        failpoints._parts = order["failpoint"].split(":")
        failpoints._left = int(failpoints._parts[1]) if order["failpoint"] else 0
        handlers.DELAY_SECONDS = float(order["env"].get("TOY_DELAY_SECONDS", "0"))
        status = cli.main(SERVICE, order["argv"])
    except BaseException:  # noqa: BLE001 - the end of this process, whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def main() -> None:
    gc.freeze()
    children: set[int] = set()
    buffer = b""
    while True:
        ready, _, _ = select.select([0], [], [], 0.02)
        if ready:
            data = os.read(0, 65536)
            if not data:
                break
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    _child(json.loads(line))
                children.add(pid)
                os.write(1, json.dumps({"pid": pid}).encode() + b"\n")
        for pid in list(children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                children.discard(pid)
                os.write(1, json.dumps({"ended": pid, "status": os.waitstatus_to_exitcode(status)}).encode() + b"\n")
    for pid in children:
        os.kill(pid, 9)


if __name__ == "__main__":
    main()
