"""The only place that answers what a server offers (gRPC's server reflection), for people with grpcurl or buf.

The library behind it costs 4 MB, so it is loaded by the first question and not before: most servers are never asked.
Where it is not installed, the answer is gRPC's own "unimplemented".
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import grpc
import grpc.aio

_SERVICE = "ServerReflectionInfo"
_METHODS = frozenset(f"/grpc.reflection.{version}.ServerReflection/{_SERVICE}" for version in ("v1", "v1alpha"))
"""Both versions have the same messages on the wire (grpc/src/proto/grpc/reflection)."""


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Names these services, as in "modelsyncd.wire.v1.SyncService", to whoever asks."""
    server.add_generic_rpc_handlers((_Reflection(services),))


class _Reflection(grpc.GenericRpcHandler):
    """Loads the real servicer when it is first asked for."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = tuple(services)
        self._handler: grpc.RpcMethodHandler[bytes, bytes] | None = None

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """The handler for a question of ours; None for any other method, which gRPC then looks for elsewhere."""
        if handler_call_details.method not in _METHODS:
            return None
        if self._handler is None:
            self._handler = _load(self._services)
        return self._handler


def _load(services: Sequence[str]) -> grpc.RpcMethodHandler[bytes, bytes] | None:
    try:
        reflection = importlib.import_module("grpc_reflection.v1alpha.reflection")
        messages = importlib.import_module("grpc_reflection.v1alpha.reflection_pb2")
    except ModuleNotFoundError:
        return None
    servicer = reflection.aio.ReflectionServicer((*services, reflection.SERVICE_NAME))
    return grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=messages.ServerReflectionRequest.FromString,
        response_serializer=messages.ServerReflectionResponse.SerializeToString,
    )
