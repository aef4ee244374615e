"""The only place that leaves out of a Give what the one before it on the same call said, and fills it in again.

Names of manifests are 32 bytes, and on a slow link a chunk comes in many parts: without this, heads were half of what
the protocol costs besides the chunks.
"""

from __future__ import annotations

from modelsyncd.wire.v1 import sync_pb2


class Said:
    """What the Gives of one call said so far, in one direction. Both ends keep it, from the same Gives."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nothing may be left out of the next Give: who knows what came of the last one."""
        self._before: sync_pb2.Give | None = None
        self._base = b""

    def shorten(self, head: sync_pb2.Give) -> None:
        """Leaves out of a whole head what the other end fills in."""
        before, base = self._before, self._base
        self._remember(head)
        if before is None:
            return
        if head.offset and _same_chunk(head, before):
            for field in ("manifest", "part", "ordinal", "codec", "base", "encoded_size"):
                head.ClearField(field)
            return
        if head.HasField("base") and head.base.manifest == base:
            head.base.ClearField("manifest")
        if head.manifest == before.manifest:
            head.ClearField("manifest")

    def fill(self, head: sync_pb2.Give) -> None:
        """Fills in what was left out. What was not said before stays out, and is refused by who reads the head."""
        before = self._before
        if before is not None and not head.manifest:
            head.manifest = before.manifest
            if _says_nothing_of_its_chunk(head):
                head.part, head.ordinal, head.codec = before.part, before.ordinal, before.codec
                head.encoded_size = before.encoded_size
                if before.HasField("base"):
                    head.base.CopyFrom(before.base)
        if head.HasField("base") and not head.base.manifest:
            head.base.manifest = self._base
        self._remember(head)

    def _remember(self, head: sync_pb2.Give) -> None:
        self._before = sync_pb2.Give(
            manifest=head.manifest,
            part=head.part,
            ordinal=head.ordinal,
            codec=head.codec,
            encoded_size=head.encoded_size,
            base=head.base if head.HasField("base") else None,
        )
        if head.HasField("base"):
            self._base = head.base.manifest


def _says_nothing_of_its_chunk(head: sync_pb2.Give) -> bool:
    return not (head.part or head.ordinal or head.codec or head.encoded_size or head.HasField("base"))


def _same_chunk(head: sync_pb2.Give, before: sync_pb2.Give) -> bool:
    return (
        head.manifest == before.manifest
        and (head.part, head.ordinal, head.codec) == (before.part, before.ordinal, before.codec)
        and head.encoded_size == before.encoded_size
        and head.HasField("base") == before.HasField("base")
        and head.base == before.base
    )
