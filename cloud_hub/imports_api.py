"""The only place where an admin has the hub fetch a model from elsewhere: the servicer of ImportService."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cloud_hub import gate
from cloud_hub.arrivals import Arrivals
from cloud_hub.commit import HubIntake
from cloud_hub.events import Event
from cloud_hub.imports import Fetching, check_allowed, forget_abandoned, publish
from cloud_hub.indexing import Indexer
from cloud_hub.stores import Stores
from modelsyncd.daemon.log import Log
from modelsyncd.errors import BadInputError, DiskError, LimitError, LockedError
from modelsyncd.exchange.publishing import Wish
from modelsyncd.limits import LIMITS
from modelsyncd.names import parse_channel, parse_model
from modelsyncd.release import check_labels, check_words
from modelsyncd.store.source import scan
from modelsyncd.trust.identity import Peer
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.v1 import imports_pb2 as pb
from modelsyncd.wire.v1.imports_pb2_grpc import ImportServiceServicer


class ImportsApi(ImportServiceServicer):
    """For admins only. `allowed` are the beginnings of URLs that may be fetched."""

    def __init__(
        self,
        stores: Stores,
        indexer: Indexer,
        data: Path,
        allowed: Sequence[str],
        *,
        tell: Callable[[Event], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._indexer = indexer
        self._top = data / "imports"
        self._allowed = allowed
        self._tell = tell
        self._clock = clock
        self._log = Log()
        self._busy: set[str] = set()

    @answering
    async def Import(  # noqa: N802
        self, request: pb.ImportRequest, context: Context
    ) -> AsyncIterator[pb.ImportResponse]:
        """Fetches and publishes. Raises RefusedError, BadInputError and its kind, LockedError, RoadError, DiskError."""
        caller, wish, began = gate.admin(context), wish_of(request), time.monotonic()
        check_allowed(request.url, self._allowed)
        await self.tidy()
        fetching = Fetching(request.url, self._top, self._allowed)
        with self._alone(request.url):
            origin, found = await asyncio.to_thread(fetching.look)
            try:
                pieces = fetching.fetch(origin, found)
                while (step := await asyncio.to_thread(next, pieces, None)) is not None:
                    yield pb.ImportResponse(bytes=step[0], bytes_total=step[1])
            finally:
                await asyncio.to_thread(origin.close)
            await asyncio.to_thread(fetching.check_unchanged, found)
            with await asyncio.to_thread(scan, fetching.files) as source:
                next_number = partial(self._stores.catalog.models.next_number, wish.model)
                done = await publish(self._intake(caller), source, wish, str(caller), next_number)
            await asyncio.to_thread(fetching.clear)
        self._log.info("model.imported", model=str(wish.model), number=done.settled.number, bytes=done.size)
        yield pb.ImportResponse(
            done=pb.Imported(
                model=str(wish.model),
                number=done.settled.number,
                created=done.settled.created,
                release_digest=done.settled.release_digest,
                files=done.files,
                bytes=done.size,
                seconds=time.monotonic() - began,
            )
        )

    async def tidy(self) -> None:
        """Forgets what was fetched and never published, when it is old. What the disk refuses is left."""
        try:
            gone = await asyncio.to_thread(forget_abandoned, self._top, self._clock(), frozenset(self._busy))
        except DiskError as error:
            self._log.failure("imports.untidy", error)
        else:
            if gone:
                self._log.info("imports.forgotten", imports=gone)

    @contextmanager
    def _alone(self, url: str) -> Iterator[None]:
        """Two imports of one URL would write into one another's files. Raises LockedError.

        The data folder is this process's alone, so a set is lock enough, and no call that is cut leaves it locked.
        """
        if url in self._busy:
            raise LockedError("this URL is being imported already", safe="that import goes on")
        self._busy.add(url)
        try:
            yield
        finally:
            self._busy.discard(url)

    def _intake(self, caller: Peer) -> HubIntake:
        return HubIntake(
            caller,
            self._stores.catalog,
            self._stores.stock,
            Arrivals(self._stores.contents),
            tell=self._tell,
            clock=self._clock,
            index=self._indexer.index,
        )


def wish_of(request: pb.ImportRequest) -> Wish:
    """What is to be published. Raises BadInputError and its kind, LimitError."""
    labels = {"imported-from": request.url[: LIMITS.label_chars], **request.labels}
    check_labels(labels)
    check_words("licence", (request.licence,))
    check_words("dataset", request.datasets)
    if len(request.note) > LIMITS.note_chars:
        raise LimitError(f"a note may have {LIMITS.note_chars} characters, not {len(request.note)}")
    if not request.url.isprintable() or len(request.url) > 2_000:
        raise BadInputError("that is no URL")
    channel = parse_channel(request.channel) if request.channel else ""
    return Wish(
        parse_model(request.model),
        channel,
        labels,
        dict(request.metrics),
        request.note,
        licence=request.licence,
        datasets=tuple(request.datasets),
    )
