"""The only place that hears that this machine has a network again, for whoever waits to be connected.

Linux says so on a netlink socket, to anyone who asks (rtnetlink(7)): a cable has a carrier, an address was given, a
route was added. Elsewhere, and where a sandbox forbids the socket, nothing is heard, and the waits between tries are
all there is. What is heard is no proof that the hub can be reached, only a good moment to try.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # links, IPv4 addresses and routes, IPv6 addresses and routes
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BBHiII")  # ifinfomsg: family, padding, type, index, flags, change
_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_LOOPBACK, _RUNNING = 0x8, 0x40  # of an interface's flags
SETTLE = 0.2  # seconds: an address and its routes come one after the other, and are told of once
BURST = 5  # times that are told of at once: a carrier, an address, a route, each may be what was lacking
PAUSE = 10.0  # seconds for each time beyond those: some machines make and remove interfaces all day


class _SilentError(Exception):
    """The source of news failed, and will say no more."""


def open_news() -> socket.socket | None:
    """Where the kernel's news can be read; None where there are none."""
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return None
    try:
        news = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    except OSError:
        return None
    try:
        news.bind((0, _GROUPS))
    except OSError:
        news.close()
        return None
    return news


def tells_of_a_network(data: bytes) -> bool:
    """Whether some of these messages of the kernel mean that there may be more network than before."""
    return any(_is_good_news(kind, body) for kind, body in _messages(data))


async def watch(
    tell: Callable[[], object],
    *,
    open_source: Callable[[], socket.socket | None] = open_news,
    settle: float = SETTLE,
    burst: int = BURST,
    pause: float = PAUSE,
) -> None:
    """Calls `tell` whenever there may be a network again, until it is cancelled; returns where nothing can be heard.

    A source that fails is one that says no more: the waits between tries are all there is from then on.
    At most `burst` times in a row, and then once for each `pause` seconds: nothing that was heard is left out for good.
    """
    source = open_source()
    if source is None:
        return
    told: deque[float] = deque(maxlen=burst)
    loop = asyncio.get_running_loop()
    with source, suppress(_SilentError):
        while True:
            if not tells_of_a_network(await _hear(source)):
                continue
            full = len(told) == burst
            await asyncio.sleep(max(settle, told[0] + burst * pause - loop.time() if full else 0.0))
            _drain(source)
            told.append(loop.time())
            tell()


async def pause(seconds: float) -> None:
    """Waits so long, but no longer than until there may be a network again."""
    news = asyncio.Event()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            watching = group.create_task(watch(news.set))
            await news.wait()
            watching.cancel()


async def _hear(source: socket.socket) -> bytes:
    try:
        return await asyncio.get_running_loop().sock_recv(source, 1 << 16)
    except OSError as error:
        if error.errno == errno.ENOBUFS:  # more happened than the kernel kept for us: some of it is news
            return _HEADER.pack(_HEADER.size, _NEW_ADDRESS, 0, 0, 0)
        raise _SilentError from error


def _drain(source: socket.socket) -> None:
    while True:
        try:
            source.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # it would fail for ever; the next hearing ends the watch
                return


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _is_good_news(kind: int, body: bytes) -> bool:
    if kind == _NEW_LINK and len(body) >= _LINK.size:
        flags = _LINK.unpack_from(body)[4]
        return bool(flags & _RUNNING) and not flags & _LOOPBACK
    return kind in (_NEW_ADDRESS, _NEW_ROUTE)
