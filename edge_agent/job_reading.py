"""The only place that answers jobs what is here, where it lies, and who holds it, and tells them of switches.

It never asks the hub. A caller sees of the node what it may read, and no name of anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack

from edge_agent.callers import Caller
from edge_agent.inventory import Inventory, Lying
from edge_agent.job_rights import Right, Rights
from edge_agent.job_words import active_pb, channel_ref, holder_of, patience
from edge_agent.leases import Leases
from edge_agent.steward import Steward
from edge_agent.trying import Trying
from edge_agent.watchers import Active, Watchers
from modelsyncd.digest import to_text
from modelsyncd.errors import NotFoundError
from modelsyncd.names import ModelRef, nearest
from modelsyncd.session.frames import Standing
from modelsyncd.wire.v1 import jobs_pb2


class Reading:
    """What jobs ask about the node. All methods belong to the loop's thread."""

    def __init__(
        self,
        steward: Steward,
        watchers: Watchers,
        leases: Leases,
        *,
        inventory: Inventory,
        trying: Trying,
        rights: Rights,
    ) -> None:
        self._steward = steward
        self._watchers = watchers
        self._leases = leases
        self._inventory = inventory
        self._trying = trying
        self._rights = rights

    def listed(self, caller: Caller) -> list[jobs_pb2.LocalModel]:
        """All channels that are assigned or active here."""
        standings = self._standings()
        return [self._local(ref, standings.get(ref)) for ref in self._refs(caller)]

    async def get(self, text: str, wait: float, caller: Caller) -> jobs_pb2.ActiveRelease:
        """What is active, now or within so many seconds. Raises NotFoundError, RefusedError and of wrong words."""
        return active_pb(await self._active(self._readable(text, caller), wait, caller))

    async def watch(self, text: str, caller: Caller) -> AsyncIterator[jobs_pb2.WatchResponse]:
        """What is active now, then each switch. A model that is not here yet is waited for."""
        ref = self._readable(text, caller) if text else None
        with self._watchers.watch(ref) as watch:
            # No await between listening and looking: a switch is in one of the two, and in one only.
            present = [self._steward.active(one) for one in ([ref] if ref is not None else self._refs(caller))]
            for active in present:
                if active is not None:
                    yield jobs_pb2.WatchResponse(active=active_pb(active))
            async for switch in watch:
                if ref is not None or self._rights.may(caller, Right.READ, switch.active.ref):
                    yield jobs_pb2.WatchResponse(active=active_pb(switch.active), previous=switch.previous)

    async def acquire(
        self, request: jobs_pb2.AcquireRequest, caller: Caller
    ) -> AsyncIterator[jobs_pb2.AcquireResponse]:
        """As `watch`, and every version that was told stays until this is closed."""
        ref, holder = self._readable(request.ref, caller), holder_of(request.holder, caller)
        with ExitStack() as holds, self._watchers.watch(ref) as watch:
            holds.callback(self._steward.look)  # what nobody holds any more may go now
            if request.also:
                await self._hold_also(ref, request.also, holder, holds)
            active = await self._active(ref, request.wait_seconds, caller)
            holds.enter_context(self._leases.hold(active.version, holder))
            yield self._acquired(active, 0)
            if request.once:
                await asyncio.Event().wait()
            async for switch in watch:
                told, active = active, switch.active
                if active == told or self._steward.active(ref) != active:
                    continue  # told already, or gone again
                holds.enter_context(self._leases.hold(active.version, holder))
                yield self._acquired(active, switch.previous)

    async def show(self, text: str, caller: Caller) -> jobs_pb2.ShowResponse:
        """All that is known of one channel. Raises NotFoundError for one that is not followed, DiskError."""
        ref = self._readable(text, caller)
        if ref not in self._steward.refs:
            raise self._absent(ref, caller)
        versions = await asyncio.to_thread(self._inventory.versions, ref.model)
        found = jobs_pb2.ShowResponse(
            local=self._local(ref, self._standings().get(ref)),
            versions=[self._version(one) for one in versions],
            previous=await asyncio.to_thread(self._inventory.previous, ref),
        )
        trial, failed = self._trying.trial(ref), self._trying.failed(ref)
        if trial is not None:
            found.trial_seconds = trial.seconds_left
        if failed is not None:
            found.failed.CopyFrom(jobs_pb2.FailedTrial(number=failed.number, why=failed.why, at=failed.at))
        return found

    def measured(self, ref: ModelRef, caller: Caller) -> tuple[int, str]:
        """The number that is active, and which variant of that release. Raises NotFoundError."""
        active = self._steward.active(ref)
        if active is None:
            raise self._absent(ref, caller)
        return active.number, active.distinct

    # --- inside ---

    def _readable(self, text: str, caller: Caller) -> ModelRef:
        ref = channel_ref(text)
        self._rights.demand(caller, Right.READ, ref)
        return ref

    def _refs(self, caller: Caller) -> list[ModelRef]:
        return [ref for ref in self._steward.refs if self._rights.may(caller, Right.READ, ref)]

    def _standings(self) -> dict[ModelRef, Standing]:
        return {ModelRef(one.model, channel=one.channel): one for one in self._steward.standings()}

    async def _active(self, ref: ModelRef, wait: float, caller: Caller) -> Active:
        seconds = patience(wait)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    changed = self._steward.changed
                    active = self._steward.active(ref)
                    if active is not None:
                        return active
                    if wait <= 0:
                        raise self._absent(ref, caller)
                    await changed.wait()
        except TimeoutError:
            raise self._absent(ref, caller) from None

    async def _hold_also(self, ref: ModelRef, number: int, holder: str, holds: ExitStack) -> None:
        """Holds a version by its number, if it is here: whoever asks had it, and goes on using it."""
        for one in await asyncio.to_thread(self._inventory.versions, ref.model):
            if one.version.number == number:
                holds.enter_context(self._leases.hold(one.version, holder))

    def _acquired(self, active: Active, previous: int) -> jobs_pb2.AcquireResponse:
        trial = self._trying.trial(active.ref)
        waits = trial is not None and trial.number == active.number
        return jobs_pb2.AcquireResponse(
            active=active_pb(active),
            previous=previous,
            trial=waits,
            trial_seconds=trial.seconds_left if waits and trial is not None else 0.0,
        )

    def _absent(self, ref: ModelRef, caller: Caller) -> NotFoundError:
        refs = self._refs(caller)
        if ref not in refs:
            known = [str(one) for one in refs]
            return NotFoundError(
                f"this node does not follow {ref}",
                hint="" if known else "nothing is assigned to it: modelsyncctl assign",
                nearest=nearest(str(ref), known) or known[:3],
            )
        standing = self._standings().get(ref)
        phase = standing.phase.name.lower() if standing is not None else "wanted"
        why = f": {standing.fault.message}" if standing is not None and standing.fault is not None else ""
        return NotFoundError(f"no version of {ref} is whole here yet ({phase}{why})", hint="wait for it with `wait`")

    def _local(self, ref: ModelRef, standing: Standing | None) -> jobs_pb2.LocalModel:
        active = self._steward.active(ref)
        found = jobs_pb2.LocalModel(model=str(ref.model), channel=ref.channel or "")
        found.phase = standing.phase.name.lower() if standing is not None else "active"
        found.desired = standing.desired if standing is not None else 0
        if active is not None:
            found.active.CopyFrom(active_pb(active))
        return found

    def _version(self, lying: Lying) -> jobs_pb2.LocalVersion:
        return jobs_pb2.LocalVersion(
            number=lying.version.number,
            manifest=to_text(lying.version.manifest),
            path=str(lying.path),
            size=lying.size,
            whole=lying.whole,
            holders=self._leases.holders(lying.version),
            variant=lying.variant,
        )
