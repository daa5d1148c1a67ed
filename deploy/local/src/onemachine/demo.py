"""`make demo`: a fresh stack with the sandbox and a clock of its own, the main job on it, and what is left to look at."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from shared.clock import machine_now

from onemachine.firststeps import ENTITY_ID, SCOPE, TENANT_ID
from onemachine.stack import SANDBOX, SERVICES, Stack

START = "2026-01-05T08:00:00+01:00"
"""The demo's first business day: a Monday, within the rates of late interest that are known."""
_ENVIRONMENT = ("ENCOURS_", "KAFKA_")


def run(root: Path, arguments: Sequence[str]) -> int:
    """Starts from nothing in `root` (what an earlier demo left there is removed), runs the main job, returns its exit status.

    On a terminal the stack stays up for a look; otherwise it is stopped, also when the demo is told to end (SIGTERM).
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the process is gone at once, and all that it started lives on
    if root.exists():
        Stack(root, sandbox=True).down()
        shutil.rmtree(root)
    root.mkdir(parents=True)
    clock = root / "clock"
    clock.write_text(START)
    stack = Stack(root, sandbox=True, clock_file=clock)
    keep = sys.stdout.isatty() and "--json" not in arguments
    try:
        console = Console(stderr=True)
        with console.status("starting") as line:
            stack.up(lambda step: line.update(f"starting: {step}"))
        file = root / "services.json"
        file.write_text(json.dumps(_services(stack, clock)))
        file.chmod(0o600)
        environment = stack.environment() | {"ENCOURS_SERVICES_FILE": str(file)}
        return subprocess.run([sys.executable, "-m", "sandbox.demo", *arguments], check=False, env=environment).returncode  # noqa: S603 - our own command
    finally:
        if keep:
            Console().print(f"It is all still up. To look: python -m onemachine --root {root} status; to end it: the same with down")
        else:
            stack.down()


def _services(stack: Stack, clock: Path) -> dict[str, object]:
    """What the main job needs to know: addresses, a tenant, a token for it, and the environment that `check` runs in."""
    found: dict[str, object] = {
        "tenant": TENANT_ID,
        "entity": ENTITY_ID,
        "token": stack.issuer.token(tenant_id=TENANT_ID, scope=SCOPE, now=machine_now(), subject="demo", hours=24),
        "clock_file": str(clock),
        "webhook_secret": stack.secret("webhook", prefix="whsec_"),
        SANDBOX: {"url": stack.url(SANDBOX)},
    }
    for name, database in stack.provision().items():
        environment = stack.environment(name, database)
        found[name] = {
            "url": stack.url(name),
            "env": {key: value for key, value in environment.items() if key.startswith(_ENVIRONMENT)},
        }
    return {**found, "services": list(SERVICES)}
