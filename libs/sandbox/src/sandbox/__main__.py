"""`python -m sandbox`: the simulated outside world on this machine, until it is told to stop."""

import sys

import uvicorn

from sandbox.app import SandboxSettings, create_app


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = SandboxSettings()
    uvicorn.run(create_app(settings), host="127.0.0.1", port=settings.sandbox_port, access_log=False, timeout_graceful_shutdown=5)
    return 0


if __name__ == "__main__":
    sys.exit(main())
