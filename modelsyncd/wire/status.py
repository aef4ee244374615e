"""The only place where our errors become gRPC statuses and gRPC's become ours.

A fault travels in the trailing metadata, whole; the status code and text beside it are for programs that know gRPC but
not us. Where there is no fault, gRPC itself failed, and its code and text are all there is to go by.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, ParamSpec, TypeVar, cast, overload

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from modelsyncd.errors import (
    BadInputError,
    ConflictError,
    DamageError,
    DiskError,
    LimitError,
    ModelsyncError,
    NoProgressError,
    NotFoundError,
    NumberTakenError,
    ProtocolError,
    RefusedError,
    RoadError,
    WrongProtocolError,
)
from modelsyncd.session.fault import Fault
from modelsyncd.session.faults import error_of, fault_of
from modelsyncd.wire.faultwords import fault_from_pb, fault_to_pb
from modelsyncd.wire.v1 import nouns_pb2

P = ParamSpec("P")
R = TypeVar("R")
Context = grpc.aio.ServicerContext[Any, Any]

FAULT_KEY = "modelsyncd-fault-bin"
DETAILS_CHARS = 200  # characters; the whole sentence travels in the fault, and metadata has 8 KiB in all

_log = logging.getLogger(__name__)

_CODES: tuple[tuple[type[ModelsyncError], grpc.StatusCode], ...] = (
    (NumberTakenError, grpc.StatusCode.ALREADY_EXISTS),
    (BadInputError, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (RefusedError, grpc.StatusCode.PERMISSION_DENIED),
    (ConflictError, grpc.StatusCode.FAILED_PRECONDITION),
    (ProtocolError, grpc.StatusCode.INVALID_ARGUMENT),
    (RoadError, grpc.StatusCode.UNAVAILABLE),
    (DiskError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DamageError, grpc.StatusCode.DATA_LOSS),
)
"""The first that fits counts."""


# --- the called side ---


async def abort(context: Context, error: BaseException) -> NoReturn:
    """Ends a call with an error: ours as itself, any other without a word of its text. Raises gRPC's AbortError."""
    fault = fault_of(error)
    data = fault_to_pb(fault).SerializeToString()
    await context.abort(_code(fault), fault.message[:DETAILS_CHARS], ((FAULT_KEY, data),))
    raise AssertionError("abort does not return")


@overload
def answering(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]: ...


@overload
def answering(method: Callable[P, AsyncIterator[R]]) -> Callable[P, AsyncIterator[R]]: ...


def answering(method: Callable[P, Any]) -> Callable[P, Any]:
    """Wraps a servicer's method, unary or streaming, so that its errors reach the caller; the context comes last.

    An error that is not ours is logged here, because nobody else will ever see it.
    """
    if inspect.isasyncgenfunction(method):

        @functools.wraps(method)
        async def many(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Any]:
            try:
                async for answer in method(*args, **kwargs):
                    yield answer
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the outermost frame of a call
                await _give_up(args[-1], method, error)

        return many

    @functools.wraps(method)
    async def one(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return await method(*args, **kwargs)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the outermost frame of a call
            await _give_up(args[-1], method, error)

    return one


async def _give_up(context: object, method: Callable[..., object], error: BaseException) -> NoReturn:
    if isinstance(error, grpc.aio.AbortError) or (isinstance(error, asyncio.CancelledError) and _was_cancelled()):
        raise error
    if isinstance(error, asyncio.CancelledError):
        # Nobody cancelled this call, something in it cancelled itself. gRPC would leave the caller waiting for ever.
        error = RoadError("the other side gave up this call", safe="asking again is safe")
    if fault_of(error).code == ModelsyncError.code:
        _log.error("call failed method=%s", method.__qualname__, exc_info=error)
    await abort(cast("Context", context), error)


def _was_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _code(fault: Fault) -> grpc.StatusCode:
    error = error_of(fault)
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


@contextmanager
def ending() -> Iterator[None]:
    """Around reads and writes of a servicer's context: raises RoadError when the call is over."""
    try:
        yield
    except grpc.aio.BaseError as error:
        raise RoadError("the other side ended the call") from error
    except asyncio.CancelledError:
        if _was_cancelled():
            raise
        raise RoadError("the other side ended the call") from None


# --- the calling side ---


@contextmanager
def translated(address: str = "") -> Iterator[None]:
    """Around calls: raises what the other side said, or what gRPC says, as an error of ours."""
    try:
        yield
    except grpc.RpcError as error:
        raise error_from(error, address) from error
    except grpc.aio.BaseError as error:
        raise RoadError(f"the call failed here: {error}") from error
    except asyncio.CancelledError:
        if _was_cancelled():
            raise
        raise RoadError("the call was cancelled on this side, or its channel closed") from None


def error_from(error: grpc.RpcError, address: str = "") -> ModelsyncError:
    """Our error for a call that failed, asynchronous or not; `address` is for the message when nobody answered."""
    fault = _fault_in(error)
    if fault is not None:
        return error_of(fault)
    return _error_for(error.code(), " ".join((error.details() or "").split()), address or "the other side")


def _fault_in(error: grpc.RpcError) -> Fault | None:
    metadata = cast("Iterable[tuple[str, str | bytes]] | None", error.trailing_metadata())
    for key, value in metadata or ():
        if key == FAULT_KEY and isinstance(value, bytes):
            try:
                return fault_from_pb(nouns_pb2.Fault.FromString(value))
            except DecodeError:
                return None
    return None


def _error_for(code: grpc.StatusCode, details: str, address: str) -> ModelsyncError:
    match code:
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED | grpc.StatusCode.UNKNOWN:
            return _road(details, address)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return NoProgressError(f"{address} did not answer in time", hint="try again; the link may be slow")
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return RefusedError(f"{address} refused: {details}")
        case grpc.StatusCode.UNIMPLEMENTED:
            return WrongProtocolError(
                f"{address} does not know this call: {details}", hint="update the older of the two sides"
            )
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return LimitError(f"a message was too large: {details}")
        case grpc.StatusCode.INTERNAL if "RST_STREAM" in details or "from Core" in details:
            return _road(details, address)
        case _:
            return ModelsyncError(f"{address} failed: {code.name.lower()}: {details}")


_ROADS: tuple[tuple[str, str, str], ...] = (
    (
        "WRONG_VERSION_NUMBER",
        "what answers at {} does not speak TLS, so it is not a hub",
        "is this the hub's address and port? a captive portal or a proxy may answer in its place",
    ),
    (
        "certificate has expired",
        "by this machine's clock, the certificate of {} has expired",
        "check the clock here (date) and at the hub; a hub renews its certificate when it starts",
    ),
    (
        "certificate is not yet valid",
        "by this machine's clock, the certificate of {} is not valid yet",
        "check the clock here (date): it may have been reset",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "what answers at {} is not our hub: its certificate comes from another authority",
        "is the address right? if the hub was set up anew, it has to invite this side anew",
    ),
    (
        "not in peer certificate",
        "what answers at {} has a certificate of our authority, but not a hub's",
        "is this the hub's address and port?",
    ),
    (
        "ping timeout",
        "{} has fallen silent",
        "the link may be down, or the other side without power; what arrived is kept",
    ),
    (
        "refused",
        "nothing listens at {}",
        "is the hub running there, and is the port right?",
    ),
    (
        "resolv",
        "the address of {} can't be found",
        "is the name right, and does this machine reach a name server?",
    ),
    (
        "Handshake read failed",
        "{} closed the connection before a word was said",
        "is this the hub's port? a firewall or proxy may be in between",
    ),
    (
        "last error: UNAVAILABLE: ",
        "{} closed the connection as soon as it had seen our certificate",
        "it may be of another hub's authority or expired, then enrol or log in anew; or the hub was just stopping",
    ),
)
"""What gRPC's text holds, and what it means; the first that is found counts. All of them may pass by themselves: a
captive portal goes away, a clock is set, a hub starts; so all are the road's fault, which is tried again.

With TLS 1.3 a server judges the client's certificate when the client's handshake is over, so a refused certificate
looks like a connection that was made and closed.
"""


def _road(details: str, address: str) -> RoadError:
    for sign, message, hint in _ROADS:
        if sign in details:
            return RoadError(message.format(address), hint=hint)
    return RoadError(f"the link to {address} failed: {details}")
