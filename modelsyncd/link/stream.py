"""The only place where a gRPC call becomes a stream of frames, at either end.

Frames cross gRPC as bytes and are read and written here, not in gRPC's (de)serialisers: an error in one of those is
swallowed by gRPC, and protobuf's own writing of a large Give costs a hundred times what ours does.

Laws, all of them grpc.aio's: one write at a time; who cancels a read of a call cancels the call; the end of the other
side's stream looks the same after an orderly end, a cancel and a reset, so it means nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import grpc
import grpc.aio

from modelsyncd.errors import ModelsyncError, RoadError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.link import sockets
from modelsyncd.session.faults import error_of, fault_of
from modelsyncd.session.frames import Fault, Feature, Frame, Hello, Refuse
from modelsyncd.wire import frames
from modelsyncd.wire.status import Context, answering, ending, translated
from modelsyncd.wire.terse import Said

SERVICE = "modelsyncd.wire.v1.SyncService"
METHOD = "Session"
LANE = "Lane"
LANES_KEY = "modelsyncd-lanes-bin"  # metadata of a session and of its lanes: the same bytes, which nobody can guess
FAREWELL = 2.0  # seconds for the other side to read our last words before the call is cancelled
AHEAD = 2  # messages that are read before they are asked for
_ENDED = "the other side ended the stream"


class ClientStream:
    """The caller's end of a session. Made by `open_session`."""

    def __init__(
        self,
        call: grpc.aio.StreamStreamCall[bytes, bytes],
        address: str,
        limits: Limits = LIMITS,
        *,
        opened: Callable[[], object] | None = None,
    ) -> None:
        self._call = call
        self._opened = opened
        self._address = address
        self._limits = limits
        self._writing = asyncio.Lock()
        self._arrived: asyncio.Queue[Frame | None] = asyncio.Queue(AHEAD)
        self._heard_all = asyncio.Event()
        self._over = False
        self._failure: ModelsyncError | None = None
        self._said: Said | None = None
        self._heard = Said()

    async def read(self) -> Frame | None:
        """The next frame, or None at the end, which means nothing. May be cancelled without losing a frame.

        Raises what ended the call: the hub's own error, RoadError, RefusedError; ProtocolError for a malformed frame.
        """
        frame = None if self._over else await self._arrived.get()
        if frame is not None:
            return frame
        self._over = True
        if self._failure is not None:
            raise self._failure
        return None

    async def write(self, frame: Frame) -> None:
        """Puts a frame on the wire. Raises what ended the call, as `read` does."""
        try:
            async with self._writing:
                with translated(self._address), _sure(self._said):
                    await self._call.write(frames.encode(frame, self._said))
        except (ModelsyncError, asyncio.InvalidStateError) as error:
            raise await self._reason() from error

    async def listen(self) -> None:
        """Reads the call until it ends; `open_session` runs it, so that who stops waiting for a frame ends nothing."""
        try:
            with translated(self._address):
                while isinstance(data := await self._call.read(), bytes):
                    if self._opened is not None:  # something came, so there is a connection
                        self._opened()
                        self._opened = None
                    frame = frames.decode(data, self._limits, self._heard)
                    self._said = self._said or _said_to(frame)
                    if isinstance(frame, Refuse) and frame.manifest is None:
                        self._failure = error_of(frame.fault)
                    await self._arrived.put(frame)
        except ModelsyncError as error:
            self._failure = self._failure or error
        self._heard_all.set()
        await self._arrived.put(None)

    async def told(self) -> dict[str, str]:
        """What the hub said of this call before its first frame. Raises what ended the call."""
        with translated(self._address):
            found = await self._call.initial_metadata()
        return {str(key): value for key, value in found or () if isinstance(value, str)}

    async def bid_farewell(self) -> None:
        """Says that no more will come, and lets the other side read what came, for a moment."""
        with suppress(TimeoutError, ModelsyncError):
            async with asyncio.timeout(FAREWELL):
                with translated(self._address):
                    await self._call.done_writing()
                while not self._over and await self._arrived.get() is not None:
                    pass

    async def _reason(self) -> ModelsyncError:
        """Why a write failed. What was read knows better: a failed write hides the call's status from gRPC itself."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._heard_all.wait()
        return self._failure or RoadError(_ENDED)


@asynccontextmanager
async def open_session(
    channel: grpc.aio.Channel,
    address: str = "",
    *,
    opened: Callable[[], object] | None = None,
    method: str = METHOD,
    token: bytes = b"",
) -> AsyncIterator[ClientStream]:
    """A session with the hub of this channel, for as long as the block runs; `address` is for error messages.

    `opened` is called once, when the first word has come: from then on the session has its connection. A
    session with a `token` may get lanes, which are opened in the same way with `method` LANE and the same token.

    What was written is sent before the call ends, unless the block is cancelled. Opening fails with the first read or
    write, not here.
    """
    dial: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/{method}")
    call = dial(metadata=((LANES_KEY, token),) if token else None)
    stream = ClientStream(call, address, opened=opened)
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(stream.listen())
            try:
                yield stream
            except Exception as error:  # noqa: BLE001 - raised again below, where the group can't wrap it
                failure = error
            await stream.bid_farewell()
            listening.cancel()
    finally:
        call.cancel()
    if failure is not None:
        raise failure


class ServicerStream:
    """The called end of a session. Made by `serve_sessions`."""

    def __init__(self, context: Context, limits: Limits = LIMITS) -> None:
        self._context = context
        self._limits = limits
        self._writing = asyncio.Lock()
        self._said: Said | None = None
        self._heard = Said()

    async def read(self) -> Frame | None:
        """The next frame, or None at the end, which means nothing. Raises ProtocolError, RoadError."""
        with ending():
            data = await self._context.read()
        if data is grpc.aio.EOF:
            return None
        frame = frames.decode(data, self._limits, self._heard)
        self._said = self._said or _said_to(frame)
        return frame

    async def write(self, frame: Frame) -> None:
        """Puts a frame on the wire. Raises RoadError when nobody is there any more."""
        async with self._writing:
            with ending(), _sure(self._said):
                await self._context.write(frames.encode(frame, self._said))

    async def refuse(self, fault: Fault) -> None:
        """Says as the last word why the session ends, if anybody still listens; hangs up on who takes no last word.

        The status that should follow would wait behind what such a peer does not read, for as long as it pleases.

        The status that follows says it again. A caller who writes just then never sees that, but INTERNAL instead
        (https://github.com/grpc/grpc/issues/36066); a frame always arrives.
        """
        try:
            async with asyncio.timeout(FAREWELL):
                await self.write(Refuse(fault))
        except (ModelsyncError, TimeoutError):
            if not self._context.done():
                sockets.hang_up(self._context.peer())


Conversation = Callable[[ServicerStream, Context], Awaitable[None]]
"""Holds one session until it ends. Returning ends the stream well; an error of ours reaches the caller as itself."""


def serve_sessions(
    server: grpc.aio.Server, conversation: Conversation, limits: Limits = LIMITS, *, lane: Conversation | None = None
) -> None:
    """Lets the server hold sessions, and lanes of theirs where `lane` holds one."""
    served = {METHOD: _handler(conversation, limits)}
    if lane is not None:
        served[LANE] = _handler(lane, limits)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, served),))


def _handler(conversation: Conversation, limits: Limits) -> grpc.RpcMethodHandler[bytes, bytes]:
    @answering
    async def session(_: object, context: Context) -> None:
        stream = ServicerStream(context, limits)
        try:
            await conversation(stream, context)
        except Exception as error:
            await stream.refuse(fault_of(error))
            raise

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(session)
    return handler


def _said_to(frame: Frame) -> Said | None:
    """What may be left out for the peer whose Hello this is; None for one that fills nothing in, and other words."""
    return Said() if isinstance(frame, Hello) and Feature.TERSE in frame.features else None


@contextmanager
def _sure(said: Said | None) -> Iterator[None]:
    """Writes one frame: unless that ends well, nobody knows whether the other side heard it."""
    try:
        yield
    except BaseException:
        if said is not None:
            said.forget()
        raise


def token_of(context: Context) -> bytes:
    """What a session and its lanes have in common; empty for a session that takes none."""
    for key, value in context.invocation_metadata() or ():
        if key == LANES_KEY and isinstance(value, bytes):
            return value
    return b""
