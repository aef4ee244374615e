"""The door of the hub's program: quiets gRPC's own log before gRPC is loaded, and only in a process that begins here.

gRPC writes a line of its own for each port scan and each caller without a certificate, in a format that no log reader
knows; what an operator acts on is in our log. It reads the variable once, when it is imported. So does numpy's linear
algebra: for one chunk, starting a second thread takes longer than the work.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Returns the exit code."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from cloud_hub.app import start  # noqa: PLC0415 after the lines above

    return start(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
