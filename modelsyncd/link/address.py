"""The only place that reads addresses: HOST:PORT of a hub, and the path of an agent's socket.

gRPC says of an address that it can't bind only that it can't. So when that happens, the same is tried with a bare
socket, which says why.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from pathlib import Path
from urllib.parse import quote

from modelsyncd.errors import BadInputError, ConflictError, DiskError, ModelsyncError
from modelsyncd.store.durable import disk_error

SOCKET_PATH_BYTES = 107  # of sun_path's 108 (unix(7)), one of which ends it


def split(address: str) -> tuple[str, int]:
    """Host (without brackets) and port of "HOST:PORT" or "[IPV6]:PORT". Raises BadInputError."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isdecimal() or int(port) > 0xFFFF or not host or (":" in host and not bracketed):
        raise BadInputError(
            f"{address[:80]!r} is no address", hint="an address is HOST:PORT; IPv6 goes into brackets, as in [::1]:7443"
        )
    return host.strip("[]"), int(port)


def join(host: str, port: int) -> str:
    """ "HOST:PORT", with brackets where needed."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host: "localhost", or an address of loopback."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def unix_target(path: Path) -> str:
    """What gRPC calls the socket at `path`. Raises BadInputError for one that is too long for a socket."""
    whole = path.absolute()
    if len(os.fsencode(whole)) > SOCKET_PATH_BYTES:
        raise BadInputError(
            f"the path of the socket is longer than {SOCKET_PATH_BYTES} bytes, which no system allows: {whole}",
            hint="choose a shorter folder, or set the socket's own path, as in /run/modelsync/agent.sock",
        )
    return "unix:" + quote(os.fsencode(whole))


def why_not_tcp(address: str) -> ModelsyncError:
    """Why nothing can listen at this address."""
    host, port = split(address)
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(place)
                probe.listen(1)
    except socket.gaierror as error:
        return BadInputError(f"can't find the address of {host!r}: {error.strerror}")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return ConflictError(
                f"port {port} at {host} is taken by another process",
                safe="nothing was started",
                hint=f"see which: ss -ltnp 'sport = :{port}'; stop it, or choose another port to listen at",
            )
        return BadInputError(f"can't listen at {address}: {error.strerror}", hint="is this an address of this machine?")
    return ConflictError(f"gRPC can't listen at {address}", hint="GRPC_VERBOSITY=debug makes it say why")


def why_not_unix(path: Path) -> ModelsyncError:
    """Why nothing can listen at this path."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.bind(os.fspath(path))
        path.unlink()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return ConflictError(f"{path} is in the way of the socket", hint="move it away")
        return disk_error(error, path)
    return DiskError(f"gRPC can't listen at {path}", hint="GRPC_VERBOSITY=debug makes it say why")
