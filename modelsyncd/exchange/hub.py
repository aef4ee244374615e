"""The only place that connects to a hub as a person and turns what goes wrong there into our own errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from grpc import aio

from modelsyncd import __version__
from modelsyncd.errors import RoadError
from modelsyncd.link.channel import open_channel
from modelsyncd.trust.context import Context
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1.catalog_pb2_grpc import CatalogServiceStub
from modelsyncd.wire.v1.derivations_pb2_grpc import DerivationServiceStub
from modelsyncd.wire.v1.imports_pb2_grpc import ImportServiceStub
from modelsyncd.wire.v1.limits_pb2_grpc import LimitServiceStub
from modelsyncd.wire.v1.lineage_pb2_grpc import LineageServiceStub
from modelsyncd.wire.v1.records_pb2_grpc import RecordServiceStub
from modelsyncd.wire.v1.retention_pb2_grpc import RetentionServiceStub
from modelsyncd.wire.v1.rights_pb2_grpc import RightServiceStub
from modelsyncd.wire.v1.rules_pb2_grpc import RuleServiceStub
from modelsyncd.wire.v1.search_pb2_grpc import SearchServiceStub

if TYPE_CHECKING:  # these are there for type checkers only
    from modelsyncd.wire.v1.catalog_pb2_grpc import CatalogServiceAsyncStub
    from modelsyncd.wire.v1.derivations_pb2_grpc import DerivationServiceAsyncStub
    from modelsyncd.wire.v1.imports_pb2_grpc import ImportServiceAsyncStub
    from modelsyncd.wire.v1.limits_pb2_grpc import LimitServiceAsyncStub
    from modelsyncd.wire.v1.lineage_pb2_grpc import LineageServiceAsyncStub
    from modelsyncd.wire.v1.records_pb2_grpc import RecordServiceAsyncStub
    from modelsyncd.wire.v1.retention_pb2_grpc import RetentionServiceAsyncStub
    from modelsyncd.wire.v1.rights_pb2_grpc import RightServiceAsyncStub
    from modelsyncd.wire.v1.rules_pb2_grpc import RuleServiceAsyncStub
    from modelsyncd.wire.v1.search_pb2_grpc import SearchServiceAsyncStub

Request = TypeVar("Request")
Answer = TypeVar("Answer")

PATIENCE = 30.0  # seconds for one answer; the largest one, 1,000 models, is under a megabyte
PAGE = 1_000


class Hub:
    """A hub that can be asked. Made by `open_hub`."""

    def __init__(self, context: Context, channel: aio.Channel, software: str) -> None:
        self.address = context.hub
        self.identity = context.identity
        self.channel = channel
        self.me = f"admin/{context.name}"
        """Who we are there, as releases and moves record it."""
        self.software = f"{software}/{__version__}"
        """What we are, as the hub's log has it."""
        self.catalog: CatalogServiceAsyncStub = CatalogServiceStub(channel)
        self.limits: LimitServiceAsyncStub = LimitServiceStub(channel)
        self.rights: RightServiceAsyncStub = RightServiceStub(channel)
        self.records: RecordServiceAsyncStub = RecordServiceStub(channel)
        self.lineage: LineageServiceAsyncStub = LineageServiceStub(channel)
        self.rules: RuleServiceAsyncStub = RuleServiceStub(channel)
        self.retention: RetentionServiceAsyncStub = RetentionServiceStub(channel)
        self.search: SearchServiceAsyncStub = SearchServiceStub(channel)
        self.derivations: DerivationServiceAsyncStub = DerivationServiceStub(channel)
        self.imports: ImportServiceAsyncStub = ImportServiceStub(channel)

    async def ask(
        self,
        method: aio.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        *,
        unsure: str = "nothing is lost: the same command may be given again",
    ) -> Answer:
        """One question, one answer. Raises ModelsyncError; `unsure` says what is safe when no answer came."""
        with self.road(unsure):
            return await method(request, timeout=PATIENCE)

    async def listen(
        self,
        method: aio.UnaryStreamMultiCallable[Request, Answer],
        request: Request,
        live: asyncio.Event | None = None,
    ) -> AsyncIterator[Answer]:
        """One question, many answers; `live` is set once nothing that happens can be missed. Raises ModelsyncError."""
        call = method(request)
        try:
            with self.road("nothing is lost: the same command may be given again"):
                await call.initial_metadata()
                if live is not None:
                    live.set()
                async for answer in call:
                    yield answer
        finally:
            call.cancel()

    async def greet(self) -> None:
        """Proves that the hub answers, and knows us."""
        await self.ask(self.catalog.ListModels, pb.ListModelsRequest(page_size=1))

    async def models(self, prefix: str = "") -> list[pb.ModelView]:
        """All models whose names begin so, by name."""
        found: list[pb.ModelView] = []
        token = ""
        while True:
            request = pb.ListModelsRequest(prefix=prefix, page_size=PAGE, page_token=token)
            answer = await self.ask(self.catalog.ListModels, request)
            found.extend(answer.models)
            token = answer.next_page_token
            if not token:
                return found

    async def release(self, ref: str) -> pb.ReleaseView:
        """One release by any reference. Raises NotFoundError with the nearest names."""
        answer = await self.ask(self.catalog.GetRelease, pb.GetReleaseRequest(ref=ref))
        return answer.release

    def ended(self, what: str) -> RoadError:
        """The error for a stream that ended although it should not."""
        return RoadError(f"hub {self.address}: {what}", safe="nothing is lost")

    @contextmanager
    def road(self, unsure: str) -> Iterator[None]:
        """Turns gRPC's errors into ours, and says of a failed link which hub it led to."""
        try:
            with translated(self.address):
                yield
        except RoadError as error:
            raise type(error)(
                error.message,
                safe=error.safe or unsure,
                hint=error.hint or "is the hub running, and is this its address? `modelsyncctl contexts` shows yours",
            ) from error


@asynccontextmanager
async def open_hub(context: Context, software: str) -> AsyncIterator[Hub]:
    """The hub of a context, until the block ends; a dead link shows when it is asked. `software` is what we are."""
    async with open_channel(context.hub, context.identity) as channel:
        yield Hub(context, channel, software)
