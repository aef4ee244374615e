"""The only place where admins ask which releases came from which: the servicer of LineageService."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cloud_hub import gate, views
from cloud_hub.catalog import Catalog, ReleaseRow
from cloud_hub.catalog.lineage import Name, Tie
from cloud_hub.records_api import number_view
from modelsyncd.errors import LimitError
from modelsyncd.limits import LIMITS
from modelsyncd.names import ModelRef, parse_ref
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.v1 import lineage_pb2 as pb
from modelsyncd.wire.v1 import records_pb2
from modelsyncd.wire.v1.lineage_pb2_grpc import LineageServiceServicer

FARTHEST = 100  # steps each way
NUMBERS = 32  # of one release
ANSWER_BYTES = LIMITS.message_bytes // 2  # a release's bytes may be large


class LineageApi(LineageServiceServicer):
    """For admins only."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @answering
    async def Trace(self, request: pb.TraceRequest, context: Context) -> pb.TraceResponse:  # noqa: N802
        """A release's ancestors and descendants. Raises NotFoundError, InvalidNameError, LimitError."""
        gate.admin(context)
        if request.depth > FARTHEST:
            raise LimitError(f"at most {FARTHEST} steps each way, not {request.depth}")
        return await asyncio.to_thread(self._trace, parse_ref(request.ref), request.depth or FARTHEST)

    def _trace(self, ref: ModelRef, depth: int) -> pb.TraceResponse:
        start = self._catalog.models.release(ref)
        kin = self._catalog.lineage.of(start.model, start.number, depth=depth)
        answer = pb.TraceResponse(start=_name(Name(str(start.model), start.number)), cut=kin.cut)
        answer.ties.extend(map(_tie, kin.ties))
        size = answer.ByteSize()
        for row in kin.rows:
            view, numbers = views.release_view(row), self._numbers(row)
            size += view.ByteSize() + sum(one.ByteSize() for one in numbers)
            if size > ANSWER_BYTES:
                answer.cut = True
                break
            answer.releases.append(view)
            answer.numbers.extend(numbers)
        return answer

    def _numbers(self, row: ReleaseRow) -> Sequence[records_pb2.Number]:
        """What is measured of the first variant holds for the release."""
        forms = {"", *(variant.name for variant in row.variants[:1])}
        newest = self._catalog.numbers.newest(ModelRef(row.model, number=row.number))
        found = {one.name: one for one in sorted(newest, key=lambda one: one.at) if one.variant in forms}
        return [number_view(found[name]) for name in sorted(found)[:NUMBERS]]


def _name(name: Name) -> pb.ReleaseName:
    return pb.ReleaseName(model=name.model, number=name.number)


def _tie(tie: Tie) -> pb.Tie:
    return pb.Tie(child=_name(tie.child), parent=_name(tie.parent), parent_digest=bytes(tie.digest), role=tie.role)
