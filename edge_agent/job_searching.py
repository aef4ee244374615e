"""The only place that answers a job that searches: what it may read of what the hub told of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from edge_agent.callers import Caller
from edge_agent.job_rights import Right, Rights
from edge_agent.searching import Answer, FoundLine, find
from modelsyncd.errors import LimitError
from modelsyncd.names import ModelRef, parse_model
from modelsyncd.store.extract import Extract
from modelsyncd.wire.traits import trait_to_pb
from modelsyncd.wire.v1 import jobs_pb2, search_pb2

USUAL = 100
MOST = 10_000  # releases of one answer
FIELDS = 32


class Searching:
    """Queries of jobs."""

    def __init__(self, extract: Extract, rights: Rights, *, wall: Callable[[], float] = time.time) -> None:
        self._extract = extract
        self._rights = rights
        self._wall = wall

    async def find(self, request: jobs_pb2.FindRequest, caller: Caller) -> jobs_pb2.FindResponse:
        """Releases that the caller may read. Raises BadInputError, LimitError, DiskError."""
        if request.limit > MOST or len(request.fields) > FIELDS:
            raise LimitError(f"{MOST} releases with {FIELDS} fields may be asked for")
        return _told(await asyncio.to_thread(self._find, request, caller))

    def _find(self, request: jobs_pb2.FindRequest, caller: Caller) -> Answer:
        readable = [
            name for name in self._extract.marks() if self._rights.may(caller, Right.READ, ModelRef(parse_model(name)))
        ]
        return find(
            self._extract,
            request.query,
            request.sort,
            limit=request.limit or USUAL,
            fields=list(request.fields),
            readable=readable,
            now=self._wall(),
        )


def _told(answer: Answer) -> jobs_pb2.FindResponse:
    return jobs_pb2.FindResponse(releases=map(_release, answer.found), total=answer.total, heard_at=answer.heard_at)


def _release(found: FoundLine) -> search_pb2.FoundRelease:
    line = found.release
    return search_pb2.FoundRelease(
        model=line.model,
        number=line.number,
        channels=line.channels,
        committed_at=line.at,
        who=line.who,
        traits=map(trait_to_pb, found.traits),
    )
