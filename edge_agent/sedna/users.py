"""The only place that finds out which local user a TCP connection on loopback belongs to.

Sedna's workers can show no token. But a connection from this machine to itself has two ends here, and the kernel's
table of sockets names the owner of each (https://docs.kernel.org/networking/proc_net_tcp.html). A worker in another
network namespace can't reach our loopback at all.
"""

from __future__ import annotations

import ipaddress
import pwd
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from modelsyncd.errors import BadInputError

Address = tuple[str, int]
"""(IP address, port)."""
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LOCAL, _REMOTE, _UID = 1, 2, 7  # columns


def owner(client: Address, server: Address) -> int | None:
    """The uid of who connected from `client` to `server`; None when there is no such connection. Blocks."""
    wanted = (_plain(client), _plain(server))
    for table in _TABLES:
        try:
            lines = table.read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if (_address(fields[_LOCAL]), _address(fields[_REMOTE])) == wanted:
                return int(fields[_UID])
    return None


def uids(users: Collection[str]) -> frozenset[int]:
    """The uids of users by name or number. Raises BadInputError for one that this machine does not know."""
    return frozenset(_uids(users))


def _uids(users: Collection[str]) -> Iterator[int]:
    for user in users:
        if user.isascii() and user.isdigit():
            yield int(user)
            continue
        try:
            yield pwd.getpwnam(user).pw_uid
        except KeyError as error:
            raise BadInputError(f"[sedna] users: there is no user {user[:80]!r} here", hint="id USER") from error


def _plain(address: Address) -> tuple[str, int]:
    found = ipaddress.ip_address(address[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found), address[1]


def _address(column: str) -> tuple[str, int]:
    """As in 0100007F:1F90: words of 4 bytes in the machine's own order, and the port."""
    host, _, port = column.partition(":")
    raw = bytes.fromhex(host)
    words = b"".join(_turned(raw[at : at + 4]) for at in range(0, len(raw), 4))
    return _plain((str(ipaddress.ip_address(words)), int(port, 16)))


def _turned(word: bytes) -> bytes:
    return int.from_bytes(word, "big").to_bytes(4, sys.byteorder)
