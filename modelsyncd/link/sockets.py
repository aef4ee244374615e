"""The only place that looks at the TCP sockets that gRPC opened for us, for which it has few options and no door.

A descriptor is borrowed, never duplicated: a duplicate would keep alive what gRPC closes meanwhile. One that is closed
and opened anew while we look belongs to this process all the same, and what is set on it harms nothing.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

_DESCRIPTORS = "/proc/self/fd"
_FAMILIES = {socket.AF_INET, socket.AF_INET6}
_INFO = struct.Struct("=8B24I4Q6I4Q2I2Q3I")  # struct tcp_info of linux/tcp.h, up to tcpi_rcv_ooopack


@dataclass(frozen=True, slots=True)
class Way:
    """What the kernel knows of one connection; times in seconds, rates in bytes a second."""

    round_trip: float
    shortest: float
    """The shortest round trip of late; 0 for unknown."""
    segments: int
    """Sent in all, with data."""
    resent: int
    """Sent once more."""
    segment_bytes: int
    """Largest payload of one packet to the other side."""
    path_bytes: int
    """Largest packet that the way takes, as far as is known (MTU)."""
    unsent: int
    """Bytes that wait in the kernel and were not sent yet."""
    received: int
    """Bytes that came in all."""
    delivery: float
    """How fast bytes were delivered last; 0 for unknown."""
    came: int
    """Segments that came, with data."""
    came_late: int
    """Of those, what came after one that was sent later: behind each packet that was lost."""

    @property
    def loss(self) -> float:
        """Share of segments that had to be sent again: about what the way loses."""
        return self.resent / self.segments if self.segments else 0.0


def listening(port: int) -> Iterator[socket.socket]:
    """Sockets of this process that listen at a port. Each is lent until the next one is asked for."""
    return (one for one in _tcp() if _listens(one) and one.getsockname()[1] == port)


def outgoing() -> Iterator[socket.socket]:
    """Connections that this process made, and did not accept. Each is lent until the next one is asked for."""
    ours = {one.getsockname()[1] for one in _tcp() if _listens(one)}
    for one in _tcp():
        if _listens(one):
            continue
        try:
            one.getpeername()
            port = one.getsockname()[1]
        except OSError:  # not connected, or not any more
            continue
        if port not in ours:
            yield one


def hang_up(peer: str) -> bool:
    """Ends the connection with this peer, as gRPC names it ("ipv4:192.0.2.1:4711"); whether it was found."""
    host, _, port = unquote(peer).partition(":")[2].rpartition(":")
    for one in _tcp():
        try:
            found = one.getpeername()
            if found[1] == int(port) and found[0].removeprefix("::ffff:") == host.strip("[]").removeprefix("::ffff:"):
                one.shutdown(socket.SHUT_RDWR)
                return True
        except (OSError, ValueError):  # not connected, or not any more; or a peer that is no TCP
            continue
    return False


def way_of(connection: socket.socket) -> Way | None:
    """What the kernel knows of this connection; None where it does not say."""
    try:
        raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        found = _INFO.unpack(raw.ljust(_INFO.size, b"\0"))  # an older kernel says less
    except (OSError, struct.error):
        return None
    words, totals, more = found[8:32], found[32:36], found[36:]
    return Way(
        round_trip=words[15] / 1e6,
        shortest=more[3] / 1e6 if more[3] < 1 << 31 else 0.0,  # ~0 before the first sample
        segments=more[5],
        resent=words[23],
        segment_bytes=words[2],
        path_bytes=words[13],
        unsent=more[2],
        received=totals[3],
        delivery=float(more[6]),
        came=more[4],
        came_late=more[-1],
    )


def _tcp() -> Iterator[socket.socket]:
    """Every TCP socket of this process."""
    try:
        names = os.listdir(_DESCRIPTORS)  # noqa: PTH208 - the names are numbers
    except OSError:  # no /proc: nothing is found, and nothing is set
        return
    for name in names:
        with _borrowed(int(name)) as one:
            if one is not None:
                yield one


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket | None]:
    try:
        one = socket.socket(fileno=descriptor)
    except OSError:  # no socket, or closed meanwhile
        yield None
        return
    try:
        yield one if one.family in _FAMILIES and one.type == socket.SOCK_STREAM else None
    finally:
        one.detach()


def _listens(one: socket.socket) -> bool:
    try:
        return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False
