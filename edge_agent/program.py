"""The door of the agent's program: keeps Python's TLS library out of a process that has gRPC's own, and gRPC quiet.

asyncio imports `ssl` if it can, and with it comes OpenSSL: 4 MB of 48 that no line of the agent uses. A None in
sys.modules stands for a module that is not there (docs.python.org/3/reference/import.html#the-module-cache), and
asyncio does without. gRPC reads how much it should log when it is imported; what matters is in our own log. So does
numpy's linear algebra with its threads: for a chunk, starting a second one takes longer than the work. Only for the
process that this file begins: `edge_agent.app` leaves its importers alone.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Returns the exit code."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type] # documented, but not in the stub
    from edge_agent.app import main as run  # noqa: PLC0415 after the lines above

    return run()


if __name__ == "__main__":
    sys.exit(main())
