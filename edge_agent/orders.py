"""The only place that remembers the hub's last word, so that a node knows what it follows with the hub away.

The file ends with a checksum of all before it: a bit that turned could name another channel, keep fewer versions, or
make every later word of the hub look old. The checksum is a field that a Desired does not have, number 2,047 of eight
bytes, so older agents read the file, too; and a file of theirs, which has none, is believed.
"""

from __future__ import annotations

import os
from pathlib import Path

from modelsyncd.daemon.log import Log
from modelsyncd.digest import checksum
from modelsyncd.errors import DamageError, DiskError, ModelsyncError
from modelsyncd.session.frames import Desired
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.papers import read_paper, write_paper
from modelsyncd.wire.nouns import decode_desired, encode_desired

FILE = "desired.pb"
_TAG = b"\xf9\x7f"  # field 2,047, wire type 1 (https://protobuf.dev/programming-guides/encoding)
_SUM = 8  # bytes of an xxh3-64, little-endian


class Orders:
    """The file `desired.pb` in the agent's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def load(self) -> Desired | None:
        """What was saved last; None before the first, and for a file that is broken: the hub says it again anyway.

        Raises DiskError.
        """
        if not os.path.lexists(self._path):
            return None
        try:
            return decode_desired(_checked(read_paper(self._path)))
        except DiskError:
            raise
        except ModelsyncError as error:
            Log().failure("orders.broken", error, path=self._path)
            return None

    def save(self, desired: Desired) -> None:
        """Durable when it returns. Raises DiskError."""
        raw = encode_desired(desired)
        passing(Point.ORDERS_HEARD)
        write_paper(self._path, raw + _TAG + checksum(raw).to_bytes(_SUM, "little"))
        passing(Point.ORDERS_KEPT)


def _checked(raw: bytes) -> bytes:
    """What was written. Raises DamageError."""
    if not raw:
        raise DamageError("the hub's last word is gone from this disk", hint="nothing; the hub says it again")
    body, ending = raw[: -_SUM - len(_TAG)], raw[-_SUM - len(_TAG) :]
    if not ending.startswith(_TAG) or len(ending) < _SUM + len(_TAG):
        return raw
    if checksum(body).to_bytes(_SUM, "little") != ending[len(_TAG) :]:
        raise DamageError("the hub's last word was changed on this disk", hint="nothing; the hub says it again")
    return body
