"""The only place where a supervisor on this machine asks an agent whether it serves: the exit code is the answer.

    python -m modelsyncd.client.probe [SOCKET]

Kubernetes' own gRPC probe can't open a Unix socket, and the agent listens nowhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelsyncd.client.target import OPTIONS, resolve
from modelsyncd.errors import BadInputError

_PATIENCE = 5.0  # seconds; below timeoutSeconds in deploy/kubernetes


def serves(target: str) -> bool:
    """Whether a program at this gRPC target says that it serves as a whole."""
    with grpc.insecure_channel(target, OPTIONS) as channel:
        ask = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
        try:
            answer: health_pb2.HealthCheckResponse = ask(health_pb2.HealthCheckRequest(), timeout=_PATIENCE)
        except grpc.RpcError:
            return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING


def main(arguments: Sequence[str]) -> int:
    """0 when it serves, 1 when it does not or is not there, 2 for a path that no socket can have."""
    try:
        return 0 if serves(resolve(arguments[0] if arguments else None)) else 1
    except BadInputError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
