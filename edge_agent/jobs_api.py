"""The only place that answers jobs: what is here, where it lies, and word of each switch. It never asks the hub."""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections.abc import AsyncIterator

import grpc.aio

from edge_agent.steward import Steward
from edge_agent.watchers import Active, Watchers
from modelsyncd.digest import to_text
from modelsyncd.errors import BadInputError, NotFoundError
from modelsyncd.link.address import join, split, why_not_tcp
from modelsyncd.names import DEFAULT_CHANNEL, ModelRef, nearest, parse_ref
from modelsyncd.session.frames import Standing
from modelsyncd.wire.status import answering
from modelsyncd.wire.v1 import jobs_pb2, jobs_pb2_grpc

_GetContext = grpc.aio.ServicerContext[jobs_pb2.GetRequest, jobs_pb2.GetResponse]
_ListContext = grpc.aio.ServicerContext[jobs_pb2.ListRequest, jobs_pb2.ListResponse]
_WatchContext = grpc.aio.ServicerContext[jobs_pb2.WatchRequest, jobs_pb2.WatchResponse]


class JobsApi(jobs_pb2_grpc.JobsServiceServicer):
    """JobsService over what the steward knows."""

    def __init__(self, steward: Steward, watchers: Watchers) -> None:
        self._steward = steward
        self._watchers = watchers

    @answering
    async def List(self, request: jobs_pb2.ListRequest, context: _ListContext) -> jobs_pb2.ListResponse:  # noqa: N802
        """All channels that are assigned or active here."""
        standings = {(one.model, one.channel): one for one in self._steward.standings()}
        models = [self._listed(ref, standings.get((ref.model, ref.channel or ""))) for ref in self._steward.refs]
        return jobs_pb2.ListResponse(models=models)

    @answering
    async def Get(self, request: jobs_pb2.GetRequest, context: _GetContext) -> jobs_pb2.GetResponse:  # noqa: N802
        """What is active, now or within the time that the caller has."""
        ref = channel_ref(request.ref)
        if not request.wait_seconds >= 0:  # false for NaN, too
            raise BadInputError(f"can't wait {request.wait_seconds} seconds")
        try:
            async with asyncio.timeout(None if math.isinf(request.wait_seconds) else request.wait_seconds):
                return jobs_pb2.GetResponse(active=to_pb(await self._first(ref, request.wait_seconds > 0)))
        except TimeoutError:
            raise self._absent(ref) from None

    @answering
    async def Watch(  # noqa: N802
        self, request: jobs_pb2.WatchRequest, context: _WatchContext
    ) -> AsyncIterator[jobs_pb2.WatchResponse]:
        """What is active now, then each switch. A model that is not here yet is waited for."""
        ref = channel_ref(request.ref) if request.ref else None
        with self._watchers.watch(ref) as watch:
            # No await between listening and looking: a switch is in one of the two, and in one only.
            present = [self._steward.active(one) for one in ([ref] if ref is not None else self._steward.refs)]
            for active in present:
                if active is not None:
                    yield jobs_pb2.WatchResponse(active=to_pb(active))
            async for switch in watch:
                yield jobs_pb2.WatchResponse(active=to_pb(switch.active), previous=switch.previous)

    async def _first(self, ref: ModelRef, patient: bool) -> Active:
        while True:
            changed = self._steward.changed
            active = self._steward.active(ref)
            if active is not None:
                return active
            if not patient:
                raise self._absent(ref)
            await changed.wait()

    def _absent(self, ref: ModelRef) -> NotFoundError:
        refs = self._steward.refs
        if ref not in refs:
            known = [str(one) for one in refs]
            return NotFoundError(
                f"this node does not follow {ref}",
                hint="" if known else "nothing is assigned to it: modelsyncctl assign",
                nearest=nearest(str(ref), known) or known[:3],
            )
        standing = next((one for one in self._steward.standings() if _is_of(one, ref)), None)
        phase = standing.phase.name.lower() if standing is not None else "wanted"
        why = f": {standing.fault.message}" if standing is not None and standing.fault is not None else ""
        return NotFoundError(f"no version of {ref} is whole here yet ({phase}{why})", hint="wait for it with `wait`")

    def _listed(self, ref: ModelRef, standing: Standing | None) -> jobs_pb2.LocalModel:
        active = self._steward.active(ref)
        found = jobs_pb2.LocalModel(model=str(ref.model), channel=ref.channel or "")
        found.phase = standing.phase.name.lower() if standing is not None else "active"
        found.desired = standing.desired if standing is not None else 0
        if active is not None:
            found.active.CopyFrom(to_pb(active))
        return found


def channel_ref(text: str) -> ModelRef:
    """A model's channel, "stable" when none is named. Raises InvalidNameError, BadInputError for a number."""
    ref = parse_ref(text)
    if ref.number is not None:
        raise BadInputError(
            f"{text[:80]!r} names a release; jobs follow channels", hint=f"ask for {ref.model}@{DEFAULT_CHANNEL}"
        )
    return ModelRef(ref.model, channel=ref.channel or DEFAULT_CHANNEL)


def bind_loopback(server: grpc.aio.Server, listen: str) -> str:
    """Lets jobs of this machine in at "127.0.0.1:PORT", without TLS; returns it with the port it got.

    Raises BadInputError for an address that others could reach, ConflictError when the port is taken.
    """
    host, _ = split(listen)
    if not _is_loopback(host):
        raise BadInputError(
            f"{listen[:80]!r} is reachable from other machines; jobs are served to this one only",
            hint="use 127.0.0.1:PORT or [::1]:PORT",
        )
    try:
        return join(host, server.add_insecure_port(listen))
    except RuntimeError as error:
        raise why_not_tcp(listen) from error


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def to_pb(active: Active) -> jobs_pb2.ActiveRelease:
    """For the wire."""
    return jobs_pb2.ActiveRelease(
        model=str(active.ref.model),
        channel=active.ref.channel or "",
        number=active.number,
        manifest=to_text(active.manifest),
        release=to_text(active.release),
        path=str(active.path),
        channel_path=str(active.channel_path),
        labels=active.labels,
        active_since=active.since,
    )


def _is_of(standing: Standing, ref: ModelRef) -> bool:
    return (standing.model, standing.channel) == (ref.model, ref.channel)
