"""The only place that reads and writes invites: one line of text that lets one node in.

It carries all that a node needs to reach the hub for the first time over mutual TLS: an identity of its own kind
and the authority's certificate. That it is used once, in time and by the right node is the hub's to enforce.
Like `trust.identity`, this never loads the cryptography library.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import textwrap
import zlib
from dataclasses import dataclass

from modelsyncd.errors import InvalidNameError, InviteError
from modelsyncd.names import parse_node
from modelsyncd.trust.identity import Identity

PREFIX = "msi1_"
_TEXT_CHARS = 8_192  # characters of a token; ours have about 1,400
_PLAIN_BYTES = 16 << 10  # bytes after inflating
_KEY_HEAD, _KEY_TAIL = "-----BEGIN PRIVATE KEY-----\n", "\n-----END PRIVATE KEY-----\n"
_CERTIFICATE_HEAD = "-----BEGIN CERTIFICATE-----\n"
_CERTIFICATE_TAIL = "\n-----END CERTIFICATE-----\n"


@dataclass(frozen=True, slots=True)
class Invite:
    """Leave for the node `name` to enrol until `expires_at` (seconds since 1970-01-01 UTC). A secret."""

    id: str
    name: str
    expires_at: float
    identity: Identity


def encode(invite: Invite) -> str:
    """The invite as one word of text: letters, digits, `-` and `_`."""
    fields = {
        "id": invite.id,
        "name": invite.name,
        "expires_at": invite.expires_at,
        "key": _body(invite.identity.key),
        "certificate": _body(invite.identity.certificate),
        "authority": _body(invite.identity.authority),
    }
    # zlib's own checksum is what finds a token that was cut or mistyped.
    packed = zlib.compress(json.dumps(fields, separators=(",", ":")).encode(), level=9)
    return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(text: str) -> Invite:
    """The invite that `encode` wrote; white space in it, as mail programs add, does no harm. Raises InviteError."""
    word = "".join(text.split())
    if not word.startswith(PREFIX):
        raise _bad("is not an invite")
    if len(word) > _TEXT_CHARS:
        raise _bad("is longer than an invite can be")
    return _invite(_inflate(word.removeprefix(PREFIX)))


def _inflate(word: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", word):
        raise _bad("has characters that no invite has")
    inflater = zlib.decompressobj()
    try:
        packed = base64.urlsafe_b64decode(word + "=" * (-len(word) % 4))
        plain = inflater.decompress(packed, _PLAIN_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise _bad("invite is damaged: part of it is missing or mistyped") from error
    if not inflater.eof or inflater.unused_data:
        raise _bad("invite is damaged: part of it is missing or mistyped")
    return plain


def _invite(plain: bytes) -> Invite:
    try:
        fields = json.loads(plain)
        return Invite(
            id=parse_node(fields["id"]),
            name=parse_node(fields["name"]),
            expires_at=float(fields["expires_at"]),
            identity=Identity(
                key=(_KEY_HEAD + "\n".join(textwrap.wrap(fields["key"], 64)) + _KEY_TAIL).encode(),
                certificate=_certificate(fields["certificate"]),
                authority=_certificate(fields["authority"]),
            ),
        )
    except (ValueError, TypeError, KeyError, AttributeError, InvalidNameError) as error:
        raise _bad("was made by a program that we do not understand") from error


def _body(pem: bytes) -> str:
    return "".join(line for line in pem.decode().split("\n") if not line.startswith("-----"))


def _certificate(body: str) -> bytes:
    base64.b64decode(body, validate=True)  # raises for what can't be one
    return (_CERTIFICATE_HEAD + "\n".join(textwrap.wrap(body, 64)) + _CERTIFICATE_TAIL).encode()


def _bad(what: str) -> InviteError:
    return InviteError(
        f"this {what}",
        safe="it was not sent to the hub and is not used up",
        hint="copy the whole line that 'modelsyncctl node invite NAME' printed; it begins with msi1_",
    )
