"""The only place where nodes are told what changed in the catalogue of what they follow: servicer of ExtractService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from cloud_hub import gate
from cloud_hub.catalog import Catalog
from cloud_hub.catalog.extracts import ExtractRow
from modelsyncd.errors import LimitError
from modelsyncd.names import ModelName, parse_model
from modelsyncd.trust.identity import Kind, Peer
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.traits import trait_to_pb
from modelsyncd.wire.v1 import extract_pb2 as pb
from modelsyncd.wire.v1.extract_pb2_grpc import ExtractServiceServicer

AT_ONCE = 200  # releases of one message
MODELS = 10_000  # models of one question


class ExtractApi(ExtractServiceServicer):
    """A node is told of what its assignments follow: it may read that, and nothing else."""

    def __init__(self, catalog: Catalog, *, asked: Callable[[str], None] = lambda _: None) -> None:
        """`asked` hears the name of each node that asks, before anything is looked up for it."""
        self._catalog = catalog
        self._asked = asked

    @answering
    async def FetchExtract(  # noqa: N802
        self, request: pb.FetchExtractRequest, context: Context
    ) -> AsyncIterator[pb.FetchExtractResponse]:
        """What changed. Raises RefusedError, LimitError, NotFoundError for a node that is gone."""
        caller = await gate.talker(context, self._catalog)
        if len(request.marks) > MODELS or len(request.models) > MODELS:
            raise LimitError(f"{MODELS} models may be asked about at once")
        if caller.kind is Kind.NODE:
            self._asked(caller.name)
        followed = await asyncio.to_thread(self._followed, caller, request)
        yield pb.FetchExtractResponse(followed=map(str, followed))
        for model in followed:
            async for part in self._changes(model, request.marks.get(str(model), "")):
                yield part

    def _followed(self, caller: Peer, request: pb.FetchExtractRequest) -> Sequence[ModelName]:
        if caller.kind is Kind.ADMIN:
            return [parse_model(name) for name in request.models]
        return sorted({each.model for each in self._catalog.assignments.list(caller.name)}, key=str)

    async def _changes(self, model: ModelName, mark: str) -> AsyncIterator[pb.FetchExtractResponse]:
        found = await asyncio.to_thread(self._catalog.extracts.changes, model, mark)
        if found is None:
            return
        anew = found.anew
        for start in range(0, len(found.ids), AT_ONCE):
            rows = await asyncio.to_thread(self._catalog.extracts.load, found.ids[start : start + AT_ONCE])
            yield pb.FetchExtractResponse(model=str(model), anew=anew, releases=map(_release, rows))
            anew = False
        yield pb.FetchExtractResponse(model=str(model), anew=anew, mark=found.mark, channels=found.channels)


def _release(row: ExtractRow) -> pb.ExtractRelease:
    return pb.ExtractRelease(
        number=row.number, committed_at=row.committed_at, who=row.who, traits=map(trait_to_pb, row.traits)
    )
