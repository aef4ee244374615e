"""The only place that knows how it is found out who calls at the jobs' socket: gRPC does not tell.

The socket that jobs open is ours. We ask the kernel who is there (SO_PEERCRED, SO_PEERGROUPS of unix(7) and socket(7)),
and carry the bytes on to gRPC's own socket, which lies in a folder that nobody else may enter. Towards gRPC each
connection comes from a socket bound to an abstract name that nobody else has, and gRPC does tell that name.

No byte is looked at. What one side does not take is not read from the other, a side that has said its last word may
still listen, and when one is gone so is the other.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import stat
import struct
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import cast

from edge_agent.callers import NOBODY, Caller, Tokens, local_user
from modelsyncd.daemon.log import Log
from modelsyncd.errors import ConflictError
from modelsyncd.link.address import SOCKET_PATH_BYTES, unix_target
from modelsyncd.store.durable import disk_errors

CONNECTIONS = 256  # of one user at once: each takes three of the agent's descriptors
BACKLOG = 1_024  # connections that wait to be let in
BREATH = 0.05  # seconds until it is tried again when the agent is out of descriptors, or gRPC's backlog is full
TRIES = 100
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
_UNKNOWN = 0xFFFFFFFF
_PEERGROUPS = 59  # SO_PEERGROUPS of <asm-generic/socket.h>; Linux 4.13
_GROUPS = 256  # of a user that are asked for, at most: Python asks for 1,024 bytes
_SCHEME = "unix-abstract:"
_INNER = "jobs"


class Doorkeeper:
    """Lets jobs in at one socket, and knows who is behind each connection. Belongs to the loop's thread."""

    def __init__(self, inner: Path, tokens: Tokens | None = None) -> None:
        """`inner` is gRPC's own socket."""
        self._inner = os.fspath(inner)
        self._tokens = tokens or Tokens({})
        self._word = f"modelsyncd/{secrets.token_hex(16)}"
        self._count = 0
        self._callers: dict[str, Caller] = {}
        self._of_user: Counter[int] = Counter()
        self._relays: set[_Relay] = set()

    def __len__(self) -> int:
        return len(self._relays)

    def who(self, peer: str, authorization: str = "") -> Caller:
        """Who is behind what gRPC calls a peer: the kernel's word, or a token's."""
        return self._callers.get(peer) or self._tokens.caller(authorization)

    @asynccontextmanager
    async def open(self, path: Path, mode: int) -> AsyncIterator[None]:
        """Lets jobs in while the block runs. Raises BadInputError, ConflictError, DiskError when it can't listen.

        A socket that a killed process left there is replaced.
        """
        listener = _listen(path, mode)
        try:
            async with asyncio.TaskGroup() as group:
                admitting = group.create_task(self._admit(listener))
                try:
                    yield
                finally:
                    admitting.cancel()
        finally:
            listener.close()
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - one call, as the loop is about to end
            for relay in list(self._relays):
                relay.abort()
            while self._relays:  # until their sockets are closed
                await next(iter(self._relays)).ended.wait()

    async def _admit(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        somebody = asyncio.Event()
        loop.add_reader(listener, somebody.set)
        try:
            while True:
                try:
                    outer, _ = listener.accept()  # not sock_accept: what it has accepted when it is cancelled is lost
                except BlockingIOError:
                    somebody.clear()
                    await somebody.wait()
                    continue
                except OSError as error:  # out of descriptors: those who are here go on
                    Log().warning("door.stuck", why=error.strerror)
                    loop.remove_reader(listener)
                    await asyncio.sleep(BREATH)
                    loop.add_reader(listener, somebody.set)
                    continue
                try:
                    await self._let_in(outer)
                except OSError as error:  # it left while it was let in, or there is no descriptor for our side
                    Log().warning("door.stuck", why=error.strerror)
        finally:
            loop.remove_reader(listener)

    async def _let_in(self, outer: socket.socket) -> None:
        """Raises OSError."""
        relay: _Relay | None = None
        try:
            outer.setblocking(False)
            caller = _caller(outer)
            if caller.uid is None or self._of_user[caller.uid] >= CONNECTIONS:
                Log().warning("door.crowded", user=caller.name, most=CONNECTIONS)
                return
            self._count += 1
            name = f"{self._word}/{self._count}"
            inner = await self._connect(name)
            relay = self._relay(_SCHEME + name, caller, caller.uid)
            await relay.join(inner, outer)
        except BaseException:
            if relay is not None:
                relay.abort()
            raise
        finally:
            if relay is None or not relay.joined:
                outer.close()

    def _relay(self, peer: str, caller: Caller, uid: int) -> _Relay:
        def over() -> None:
            self._relays.discard(relay)
            self._callers.pop(peer, None)
            self._of_user[uid] -= 1
            if not self._of_user[uid]:
                del self._of_user[uid]

        relay = _Relay(over)
        self._relays.add(relay)
        self._callers[peer] = caller
        self._of_user[uid] += 1
        return relay

    async def _connect(self, name: str) -> socket.socket:
        """gRPC's socket, from one of this name. Raises OSError."""
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            inner.bind("\0" + name)
            for _ in range(TRIES):
                with suppress(BlockingIOError):  # its backlog is full
                    inner.connect(self._inner)
                    return inner
                await asyncio.sleep(BREATH)
            raise OSError(0, "gRPC takes no more connections")
        except BaseException:
            inner.close()
            raise


@contextmanager
def inner_socket(folder: Path) -> Iterator[Path]:
    """Where gRPC's own socket may lie: in `folder`, or where that path is too long for a socket, in a passing one.

    The folder is made, for us alone. Raises DiskError.
    """
    if len(os.fsencode((folder / _INNER).absolute())) > SOCKET_PATH_BYTES:
        with disk_errors(folder), tempfile.TemporaryDirectory(prefix="modelsync-") as passing:
            yield Path(passing) / _INNER
        return
    with disk_errors(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    yield folder / _INNER


class _Relay:
    """One connection: two sides, each of which writes what the other reads."""

    def __init__(self, over: Callable[[], None]) -> None:
        """`over` is called when both sides are closed."""
        self._over = over
        self.ended = asyncio.Event()
        self._sides = (_Side(self), _Side(self))
        self._sides[0].other, self._sides[1].other = self._sides[1], self._sides[0]

    async def join(self, inner: socket.socket, outer: socket.socket) -> None:
        """Begins to carry, and owns both from then on. Raises OSError."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self._sides[0], sock=inner)
            await loop.connect_accepted_socket(lambda: self._sides[1], outer)
        finally:
            if self._sides[0].transport is None:
                inner.close()

    @property
    def joined(self) -> bool:
        """Whether both sockets are its own."""
        return self._sides[1].transport is not None

    def abort(self) -> None:
        """Ends both sides, and what was read of them is lost."""
        for side in self._sides:
            if side.transport is not None:
                side.transport.abort()
        self.lost()

    def lost(self) -> None:
        """A side may be closed."""
        if all(side.transport is None or side.closed for side in self._sides) and not self.ended.is_set():
            self.ended.set()
            self._over()


class _Side(asyncio.Protocol):
    """One side of a relay."""

    other: _Side

    def __init__(self, relay: _Relay) -> None:
        self._relay = relay
        self.transport: asyncio.Transport | None = None
        self.early = bytearray()
        self.ended = False
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes what the other side said before there was anybody to hear it: gRPC's settings, as a rule.

        The other side can't be told to wait: in Python 3.11.2, Debian 12's, what is paused here reads all the same.
        """
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self.other.early)
        if self.other.ended:
            self.transport.write_eof()
        if self.other.closed:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Carries it over."""
        if self.other.transport is None:
            self.early += data
        else:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """It has said its last word, and may still listen; once both have, nobody needs us."""
        self.ended = True
        if self.other.transport is not None:
            self.other.transport.write_eof()
        return not self.other.ended

    def pause_writing(self) -> None:
        """This side does not take what it is given: read no more of the other."""
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        if self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """What was read is written before the other side is closed, too."""
        self.closed = True
        if self.other.transport is not None:
            self.other.transport.close()
        self._relay.lost()


def _caller(connection: socket.socket) -> Caller:
    pid, uid, gid = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid == _UNKNOWN:  # the kernel knows nobody: the other end is gone
        return NOBODY
    return local_user(uid, {gid, *_groups(connection)}, pid)


def _groups(connection: socket.socket) -> list[int]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _PEERGROUPS, 4 * _GROUPS)
    except OSError:  # an older kernel
        return []
    return list(struct.unpack(f"{len(raw) // 4}I", raw))


def _listen(path: Path, mode: int) -> socket.socket:
    unix_target(path)  # says what is wrong with a path that no socket can have
    with disk_errors(path):
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise ConflictError(f"{path} is in the way of the socket", hint="move it away")
            path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            listener.bind(os.fspath(path))
            path.chmod(mode)  # before anybody can connect
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
    return listener
