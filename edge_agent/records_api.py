"""The only place that hands numbers to the hub, over the connection that the node's session has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc

from edge_agent.outbox.numbers import Kept
from modelsyncd.errors import RoadError
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import records_pb2, records_pb2_grpc

if TYPE_CHECKING:
    from modelsyncd.wire.v1.records_pb2_grpc import RecordServiceAsyncStub

PATIENCE = 60.0  # seconds for an answer


class Recorder:
    """As in `outbox.numbers.Post`. Belongs to the loop's thread."""

    def __init__(self, hub: str) -> None:
        """`hub` is its address, for people."""
        self._hub = hub
        self._channel: grpc.aio.Channel | None = None

    @contextmanager
    def over(self, channel: grpc.aio.Channel) -> Iterator[None]:
        """For as long as the block lasts, this is how the hub is reached."""
        self._channel = channel
        try:
            yield
        finally:
            self._channel = None

    async def hand(self, numbers: Sequence[Kept]) -> Sequence[str]:
        """Returns once the hub has them; why it can't keep some of them, if any. Raises RoadError, RefusedError."""
        if self._channel is None:
            raise RoadError("there is no session with the hub", safe="the numbers wait")
        stub: RecordServiceAsyncStub = records_pb2_grpc.RecordServiceStub(self._channel)
        request = records_pb2.RecordNumbersRequest(numbers=map(_number, numbers))
        with translated(self._hub):
            answer = await stub.RecordNumbers(request, timeout=PATIENCE)
        return [refused.why for refused in answer.refused]


def _number(kept: Kept) -> records_pb2.Number:
    one = kept.measured
    return records_pb2.Number(
        model=str(one.model),
        number=one.number,
        name=one.name,
        value=one.value,
        dataset=one.dataset,
        stage=one.stage,
        at=one.at,
        key=kept.key,
        variant=one.variant,
    )
