"""The only place that says who somebody is: a key, a certificate and the authority that both ends trust.

Law: this module never loads the cryptography library, because the agent lives with it for months; whoever makes keys
or reads certificates imports `trust.keys`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from modelsyncd.errors import DiskError, DiskFullError, NotFoundError, RefusedError
from modelsyncd.names import parse_node

HUB_TLS_NAME = "hub.modelsyncd"
"""The one DNS name in every hub's certificate: clients expect it at any address, so no address is ever certified."""

SCHEME = "modelsyncd://"
SECRET_MODE = 0o600
KEY_FILE = "node.key"
CERTIFICATE_FILE = "node.crt"
AUTHORITY_FILE = "ca.crt"


class Write(Protocol):
    """Writes a small file so that it is whole or absent after a power cut; `store.durable.write_file` is one."""

    def __call__(self, path: Path, data: bytes, mode: int, /) -> None:
        """Raises DiskError, DiskFullError; then the file is as it was before."""


class Kind(StrEnum):
    """What somebody is, and so what they may call."""

    NODE = "node"
    ADMIN = "admin"
    INVITE = "invite"


_KINDS = frozenset(kind.value for kind in Kind)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as its certificate says. For an invite, `name` is the invite's id."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def uri(self) -> str:
        """As written in the certificate's subject alternative name."""
        return f"{SCHEME}{self.kind}/{self.name}"


def peer_of(names: Iterable[str]) -> Peer:
    """Who a certificate with these subject alternative names belongs to. Raises RefusedError when it is nobody's."""
    for name in names:
        kind, slash, rest = name.removeprefix(SCHEME).partition("/")
        if name.startswith(SCHEME) and slash and kind in _KINDS:
            return Peer(Kind(kind), parse_node(rest))
    raise RefusedError("the certificate does not say who you are", hint="use an identity that this hub has issued")


@dataclass(frozen=True, slots=True)
class Identity:
    """What is needed to speak as somebody; all three in PEM. The key is a secret and never printed."""

    key: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    authority: bytes = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> Identity:
        """The identity that `save` wrote. Raises NotFoundError, DiskError."""
        return cls(
            key=read_file(folder / KEY_FILE),
            certificate=read_file(folder / CERTIFICATE_FILE),
            authority=read_file(folder / AUTHORITY_FILE),
        )

    def save(self, folder: Path, write: Write) -> None:
        """Writes three files for the owner's eyes only; the key goes first, as no certificate is worth having without.

        Raises DiskError, DiskFullError; then saving again is safe.
        """
        make_private_folder(folder)
        write(folder / KEY_FILE, self.key, SECRET_MODE)
        write(folder / AUTHORITY_FILE, self.authority, SECRET_MODE)
        write(folder / CERTIFICATE_FILE, self.certificate, SECRET_MODE)


def read_file(path: Path) -> bytes:
    """A small file of an identity. Raises NotFoundError, DiskError."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} is not there") from error
    except OSError as error:
        raise _disk_error(f"can't read {path}", error) from error


def make_private_folder(folder: Path) -> None:
    """A folder that only its owner may enter, and that a power cut does not take. Raises DiskError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # also when it was there: a process that was killed may have made it, and never synced its name
        above = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(above)
        finally:
            os.close(above)
    except OSError as error:
        raise _disk_error(f"can't make the folder {folder}", error) from error


def _disk_error(what: str, error: OSError) -> DiskError:
    kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else DiskError
    return kind(
        f"{what}: {error.strerror}",
        safe="what was there before is untouched",
        hint="look at that file system: its room, its owner, and the kernel's log; then try again",
    )
