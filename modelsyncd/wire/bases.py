"""The only place where a base is written for the wire, and read back."""

from __future__ import annotations

from modelsyncd.bases import HOLE, Run, Turned
from modelsyncd.digest import digest_from
from modelsyncd.errors import ProtocolError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.session.frames import Base
from modelsyncd.wire.v1 import sync_pb2


def base_to_pb(base: Base) -> sync_pb2.Base:
    """For the wire."""
    return sync_pb2.Base(manifest=base.manifest, runs=map(_run_to_pb, base.runs))


def base_from_pb(message: sync_pb2.Base, limits: Limits = LIMITS) -> Base:
    """From the wire; whether the runs lie in the base is `bases.check`'s to say. Raises ProtocolError."""
    if len(message.runs) > limits.base_runs:
        raise ProtocolError(f"a base may have {limits.base_runs} runs, not {len(message.runs)}")
    return Base(digest_from(message.manifest), tuple(map(_run_from_pb, message.runs)))


def _run_to_pb(run: Run) -> sync_pb2.Run:
    return sync_pb2.Run(
        file_plus_one=0 if run.file == HOLE else run.file + 1,
        offset=run.offset,
        size=run.size,
        turned=None if run.turned is None else _turned_to_pb(run.turned),
    )


def _turned_to_pb(turned: Turned) -> sync_pb2.Turned:
    return sync_pb2.Turned(rows=turned.rows, columns=turned.columns, width=turned.width, first=turned.first)


def _run_from_pb(message: sync_pb2.Run) -> Run:
    file = message.file_plus_one - 1 if message.file_plus_one else HOLE
    said = message.turned
    turned = Turned(said.rows, said.columns, said.width, said.first) if message.HasField("turned") else None
    return Run(file, message.offset, message.size, turned)
