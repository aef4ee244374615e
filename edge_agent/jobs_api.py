"""The only place where calls of jobs come in: who calls is found out, and each is handed to what answers it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import grpc.aio

from edge_agent.callers import Caller
from edge_agent.job_publishing import Publishing
from edge_agent.job_reading import Reading
from edge_agent.job_rights import Right, Rights
from edge_agent.job_searching import Searching
from edge_agent.job_words import channel_ref, release_ref, why_of
from edge_agent.trying import Trying
from modelsyncd.daemon.log import Log
from modelsyncd.errors import BadInputError
from modelsyncd.link.address import is_loopback, join, split, why_not_tcp
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.v1 import jobs_pb2, jobs_pb2_grpc

Who = Callable[[str, str], Caller]
"""The caller behind gRPC's name for the other end, and what it says of itself in the metadata `authorization`."""


class JobsApi(jobs_pb2_grpc.JobsServiceServicer):
    """JobsService."""

    def __init__(
        self,
        who: Who,
        rights: Rights,
        reading: Reading,
        publishing: Publishing,
        trying: Trying,
        *,
        searching: Searching,
    ) -> None:
        self._who = who
        self._rights = rights
        self._reading = reading
        self._publishing = publishing
        self._trying = trying
        self._searching = searching

    @answering
    async def List(self, request: jobs_pb2.ListRequest, context: Context) -> jobs_pb2.ListResponse:  # noqa: N802
        """All channels that are assigned or active here, and that the caller may read."""
        return jobs_pb2.ListResponse(models=self._reading.listed(self._caller(context)))

    @answering
    async def Get(self, request: jobs_pb2.GetRequest, context: Context) -> jobs_pb2.GetResponse:  # noqa: N802
        """What is active, now or within the time that the caller has."""
        active = await self._reading.get(request.ref, request.wait_seconds, self._caller(context))
        return jobs_pb2.GetResponse(active=active)

    @answering
    async def Watch(  # noqa: N802
        self, request: jobs_pb2.WatchRequest, context: Context
    ) -> AsyncIterator[jobs_pb2.WatchResponse]:
        """What is active now, then each switch."""
        async for event in self._reading.watch(request.ref, self._caller(context)):
            yield event

    @answering
    async def Acquire(  # noqa: N802
        self, request: jobs_pb2.AcquireRequest, context: Context
    ) -> AsyncIterator[jobs_pb2.AcquireResponse]:
        """What is active now, held until the call ends."""
        async for event in self._reading.acquire(request, self._caller(context)):
            yield event

    @answering
    async def Confirm(self, request: jobs_pb2.ConfirmRequest, context: Context) -> jobs_pb2.ConfirmResponse:  # noqa: N802
        """A job's word about a version that is tried."""
        caller, ref = self._caller(context), channel_ref(request.ref)
        self._rights.demand(caller, Right.CONFIRM, ref)
        if not request.number:
            raise BadInputError("the number of the release is missing", hint="say which one it is about")
        counted = self._trying.confirm(ref, request.number, request.works, why_of(request), str(caller))
        await self._trying.settled()  # the job goes on, and may never say it again
        facts = {"model": str(ref), "version": str(request.number), "works": str(request.works).lower()}
        Log().info("job.confirmed", **facts, who=str(caller), counted=str(counted).lower())
        return jobs_pb2.ConfirmResponse(counted=counted)

    @answering
    async def Retry(self, request: jobs_pb2.RetryRequest, context: Context) -> jobs_pb2.RetryResponse:  # noqa: N802
        """What failed may be tried again."""
        caller, ref = self._caller(context), channel_ref(request.ref)
        self._rights.demand(caller, Right.CONFIRM, ref)
        number = self._trying.retry(ref)
        await self._trying.settled()
        Log().info("job.retried", model=str(ref), version=number, who=str(caller))
        return jobs_pb2.RetryResponse(number=number)

    @answering
    async def Publish(  # noqa: N802
        self, request: jobs_pb2.PublishRequest, context: Context
    ) -> AsyncIterator[jobs_pb2.PublishResponse]:
        """How far it is, until it is stored, or until the hub has it."""
        async for step in self._publishing.publish(request, self._caller(context)):
            yield step

    @answering
    async def ListOutbox(  # noqa: N802
        self, request: jobs_pb2.ListOutboxRequest, context: Context
    ) -> jobs_pb2.ListOutboxResponse:
        """What is not on the hub yet."""
        return self._publishing.outbox(self._caller(context))

    @answering
    async def Withdraw(self, request: jobs_pb2.WithdrawRequest, context: Context) -> jobs_pb2.WithdrawResponse:  # noqa: N802
        """Takes something out of the outbox."""
        return jobs_pb2.WithdrawResponse(on_its_way=self._publishing.withdraw(request.id, self._caller(context)))

    @answering
    async def Hasten(self, request: jobs_pb2.HastenRequest, context: Context) -> jobs_pb2.HastenResponse:  # noqa: N802
        """Tries at once what waits in the outbox."""
        self._publishing.hasten(self._caller(context))
        return jobs_pb2.HastenResponse()

    @answering
    async def Record(self, request: jobs_pb2.RecordRequest, context: Context) -> jobs_pb2.RecordResponse:  # noqa: N802
        """Keeps numbers about a release."""
        caller, ref = self._caller(context), release_ref(request.ref)
        self._rights.demand(caller, Right.RECORD, ref)
        number, variant = self._reading.measured(ref, caller) if ref.number is None else (ref.number, "")
        if request.HasField("variant"):
            variant = request.variant
        await self._publishing.record(request, ref, number, caller, variant=variant)
        return jobs_pb2.RecordResponse(number=number)

    @answering
    async def Show(self, request: jobs_pb2.ShowRequest, context: Context) -> jobs_pb2.ShowResponse:  # noqa: N802
        """All that is known here of one channel."""
        return await self._reading.show(request.ref, self._caller(context))

    @answering
    async def Find(self, request: jobs_pb2.FindRequest, context: Context) -> jobs_pb2.FindResponse:  # noqa: N802
        """Releases of the models that this node follows."""
        return await self._searching.find(request, self._caller(context))

    def _caller(self, context: Context) -> Caller:
        metadata = context.invocation_metadata() or ()
        said = next((value for key, value in metadata if key == "authorization"), "")
        return self._who(context.peer(), said if isinstance(said, str) else "")


def bind_loopback(server: grpc.aio.Server, listen: str) -> str:
    """Lets jobs of this machine in at "127.0.0.1:PORT", without TLS; returns it with the port it got.

    Raises BadInputError for an address that others could reach, ConflictError when the port is taken.
    """
    host, _ = split(listen)
    if not is_loopback(host):
        raise BadInputError(
            f"{listen[:80]!r} is reachable from other machines; jobs are served to this one only",
            hint="use 127.0.0.1:PORT or [::1]:PORT",
        )
    try:
        return join(host, server.add_insecure_port(listen))
    except RuntimeError as error:
        raise why_not_tcp(listen) from error
