"""The only place where runs of ordinals, and the names of bases beside them, are written for the wire and read back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelsyncd.digest import Digest, digest_from
from modelsyncd.errors import ProtocolError
from modelsyncd.limits import Limits
from modelsyncd.wire.v1 import sync_pb2

_ORDINALS = 1 << 32  # ordinals are uint32 on the wire


def runs_to_pb(ranges: Iterable[range]) -> list[sync_pb2.Range]:
    """For the wire."""
    return [sync_pb2.Range(first=run.start, count=len(run)) for run in ranges]


def runs_from_pb(messages: Iterable[sync_pb2.Range], word: str, limits: Limits) -> tuple[range, ...]:
    """From the wire; `word` is the frame that they came in. Raises ProtocolError."""
    ranges = tuple(range(run.first, run.first + run.count) for run in messages)
    if not all(run and run.stop <= _ORDINALS for run in ranges):
        raise ProtocolError(f"{word} has a run that is empty or beyond the last ordinal there can be")
    if sum(map(len, ranges)) > limits.chunks:
        raise ProtocolError(f"{word} may name {limits.chunks} chunks at most")
    return ranges


def bases_named(raw: Sequence[bytes], word: str, limits: Limits) -> tuple[Digest, ...]:
    """Manifests named as bases, from the wire. Raises ProtocolError, BadInputError."""
    if len(raw) > limits.bases:
        raise ProtocolError(f"{word} may name {limits.bases} bases, not {len(raw)}")
    return digests(raw)


def digests(raw: Iterable[bytes]) -> tuple[Digest, ...]:
    """From the wire. Raises BadInputError for one that is none."""
    return tuple(map(digest_from, raw))
