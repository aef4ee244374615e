"""The only place that chooses how TCP answers loss on the connections that gRPC made for us (TCP_CONGESTION).

It is the sender's choice: the hub's for what nodes fetch, a node's for what it pushes. The kernels' usual default,
cubic, takes each lost packet for a full link and slows down; with one packet in a hundred lost it reaches a tenth of
what the link carries. BBR goes by what arrives and reaches nine tenths (docs/benchmarks.md). Nothing here ever fails a
program: what can't be had is told, and the system's own choice stays.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from modelsyncd.errors import BadInputError
from modelsyncd.link import sockets

AUTO = "auto"
SYSTEM = "system"
PREFERRED = "bbr"
LOSS_BASED = frozenset(
    {"bic", "cubic", "highspeed", "htcp", "hybla", "illinois", "reno", "scalable", "westwood", "yeah"}
)
"""Those that slow down for each packet that is lost; tcp_cubic(4) and its kin."""

NOT_SENT_BYTES = 16 << 10
"""Bytes that may wait in the kernel unsent: what is said beside the bulk waits behind them."""

_SYSCTL = Path("/proc/sys/net/ipv4")
_NAME = re.compile(r"[a-z0-9_-]{1,15}")  # TCP_CA_NAME_MAX, linux/tcp.h


@dataclass(frozen=True, slots=True)
class System:
    """What this machine's administrator lets programs have."""

    default: str
    """What a connection gets that asks for nothing; "" when the kernel does not say."""
    allowed: frozenset[str]
    """What anybody may ask for."""
    available: frozenset[str]
    """What the kernel has loaded; an administrator may ask for all of it."""


def system() -> System:
    """As the kernel says now."""
    return System(
        _read("tcp_congestion_control"),
        frozenset(_read("tcp_allowed_congestion_control").split()),
        frozenset(_read("tcp_available_congestion_control").split()),
    )


def advice(found: System) -> tuple[str, ...]:
    """The lines an administrator types so that programs may have the better one; nothing where they may already."""
    if PREFERRED in found.allowed or answers_loss_well(found.default):
        return ()
    lines = [] if PREFERRED in found.available else [f"modprobe tcp_{PREFERRED}"]
    together = " ".join(sorted(found.allowed | {PREFERRED}))
    return (*lines, f'sysctl -w net.ipv4.tcp_allowed_congestion_control="{together}"')


def answers_loss_well(name: str) -> bool:
    """Whether losing packets does not slow it down more than the link asks for."""
    return name.startswith(PREFERRED)


def check(setting: str) -> None:
    """Raises BadInputError for what can't be a setting."""
    if not _NAME.fullmatch(setting):
        raise BadInputError(
            f"congestion can't be {setting[:80]!r}",
            hint=f"{AUTO}, {SYSTEM}, or a name of the kernel's, as in {PREFERRED}",
        )


class Congestion:
    """One program's choice, made once."""

    def __init__(self, setting: str = AUTO) -> None:
        """`setting` is "auto", "system" or a name. Raises BadInputError for what can't be one."""
        check(setting)
        self.problem = ""
        """Why what was wished can't be had; empty when nothing is wrong."""
        self._wanted = _wanted(setting)
        self.name = ""
        """What our connections have; empty when that is not known."""
        with socket.socket() as probe:
            if self._wanted:
                self.problem = _set(probe, self._wanted)
                self._wanted = "" if self.problem else self._wanted
            self.name = name_of(probe)

    @property
    def loss_based(self) -> bool:
        """Whether our connections slow down for each packet that is lost."""
        return self.name in LOSS_BASED

    def listening(self, port: int) -> int:
        """For all connections that will be accepted at this port of ours: they inherit it. How many sockets it was."""
        return self._put(sockets.listening(port))

    def outgoing(self) -> int:
        """For the connections that this process made. How many it were."""
        return self._put(sockets.outgoing())

    def _put(self, found: Iterable[socket.socket]) -> int:
        count = 0
        for one in found:
            problem = _set(one, self._wanted) if self._wanted else ""
            self.problem = self.problem or problem
            _keep_little_unsent(one)
            count += 1
        return count


def name_of(connection: socket.socket) -> str:
    """What a socket has; empty where the kernel does not say."""
    try:
        raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    except OSError:
        return ""
    return raw.partition(b"\0")[0].decode("ascii", "replace")


def _wanted(setting: str) -> str:
    if setting == SYSTEM or (setting == AUTO and answers_loss_well(system().default)):
        return ""
    return PREFERRED if setting == AUTO else setting


def _set(connection: socket.socket, name: str) -> str:
    """Why it could not be set; empty when it is."""
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode("ascii"))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return f"the kernel has no congestion control {name!r}"
        if error.errno == errno.EPERM:
            return f"this machine does not let programs have the congestion control {name!r}"
        return f"can't set the congestion control {name!r}: {error.strerror}"
    return ""


def _keep_little_unsent(connection: socket.socket) -> None:
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)
    except OSError:
        return  # an old kernel: words wait longer beside the bulk, and nothing else


def _read(name: str) -> str:
    try:
        return (_SYSCTL / name).read_text(encoding="ascii").strip()
    except OSError:
        return ""
