"""The only place that carries a derivation through: look whether it is there, fetch, take the step, publish.

What is fetched lies in a folder of its own below the cache, named by the version, so that a try that was cut off goes
on from it; it is removed when the result is published.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked
from modelsyncd.ctl.fetched import fetched
from modelsyncd.ctl.figures import duration, share, size
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.ctl.progress import Step, meter
from modelsyncd.ctl.retry import insist, noted
from modelsyncd.digest import digest_of, to_text
from modelsyncd.errors import BadInputError, ModelsyncError, NotFoundError, first_of
from modelsyncd.exchange.adding import added_to
from modelsyncd.exchange.derivation import Doing, take
from modelsyncd.exchange.folder_taker import FolderTaker
from modelsyncd.exchange.manifests import variant_of
from modelsyncd.exchange.places import usual_cache
from modelsyncd.exchange.publishing import Push, Watched, Wish, next_number
from modelsyncd.exchange.thread import Check, in_thread
from modelsyncd.names import DEFAULT_CHANNEL, ModelName, ModelRef
from modelsyncd.release import DEFAULT_VARIANT, Parent, Release, Variant
from modelsyncd.session.progress import Progress
from modelsyncd.store.durable import Lock, lock_folder, make_folder, remove_tree
from modelsyncd.store.source import Source, scan
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import derivations_pb2

ROLE = "derived-by"
SOURCE, RESULT, LOCK = "source", "result", "lock"


@dataclass(frozen=True, slots=True)
class Target:
    """Where the result goes: as a variant called `variant` beside those of the release, or as a release of `model`."""

    model: ModelName
    channel: str
    variant: str | None = None
    selector: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Derived:
    """What came of it; `made` is False when it was there already, and then sizes and seconds are 0."""

    parent: str
    variant: Variant
    doing: Doing
    release: str
    name: str
    made: bool
    size: int = 0
    seconds: float = 0.0
    wire: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: to which variant of a release (None: the only one), what, and where the result goes."""

    variant: str | None
    doing: Doing
    target: Target


async def derive(asked: Asked, ref: ModelRef, order: Order, *, again: bool) -> None:
    """Once, for one release. Raises what fetching, the step and publishing raise."""
    async with connect(asked) as hub:
        done = await _Deriving(asked, hub, order).derive(await hub.release(str(ref)), again=again)
    asked.answer(describe(done), text(done))


async def watch(asked: Asked, ref: ModelRef, order: Order, *, again: bool) -> None:
    """For the newest release and each one that comes, until it is interrupted. Lost links are waited for."""
    del again  # once for each release: whoever begins anew finds what was made
    async with connect(asked) as hub:
        await hub.greet()  # a wrong address is told at once; only a link that was good is tried again
        asked.note(f"Watching {ref.model} at {hub.address}; end with Ctrl-C.")
        failure: ModelsyncError | None = None
        try:
            await _Deriving(asked, hub, order).follow(ref.model)
        except* ModelsyncError as errors:
            failure = first_of(errors)
        if failure is not None:
            raise failure


@dataclass(frozen=True, slots=True)
class _Deriving:
    """One order at one hub."""

    asked: Asked
    hub: Hub
    order: Order

    async def follow(self, model: ModelName) -> None:
        """Until it is cancelled. Raises groups of what `derive` raises."""
        stirred = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(insist(lambda: self._listen(model, stirred), retry=True, note=self.asked.note))
            while True:
                await stirred.wait()
                stirred.clear()
                await insist(lambda: self._newest(model), retry=True, note=self.asked.note)

    async def _listen(self, model: ModelName, stirred: asyncio.Event) -> None:
        """Stirs at once, because something may have come while nobody listened, and with each release."""
        events = self.hub.listen(self.hub.catalog.WatchEvents, pb.WatchEventsRequest(model=str(model)), stirred)
        async for event in events:
            if event.WhichOneof("event") == "released":
                stirred.set()
        raise self.hub.ended("the hub ended the watch")

    async def _newest(self, model: ModelName) -> None:
        try:
            view = await self.hub.release(str(model))
        except NotFoundError:
            return  # its first release is still to come
        wanted = self.order.target.variant
        if wanted is not None and any(one.name == wanted for one in shape.opened(view).variants):
            return  # it has that variant, ours or another's
        done = await self.derive(view, again=False)
        self.asked.event(describe(done), text(done))

    async def derive(self, view: pb.ReleaseView, *, again: bool) -> Derived:
        """What came of it."""
        release, doing = shape.opened(view), self.order.doing
        variant = variant_of(release, self.order.variant)
        parent = f"{view.model}:{view.number}"
        if self.order.target.variant == variant.name:
            raise BadInputError(f"{variant.name} is the variant that is read", hint="give the result another name")
        known = None if again else await self._known(variant)
        if known is not None:
            return Derived(parent, variant, doing, f"{known.model}:{known.number}", known.variant, made=False)
        folder, began = _folder(variant, doing), time.monotonic()
        with await asyncio.to_thread(_locked, folder):
            taker = FolderTaker(folder / SOURCE, variant, view.number, force=True)
            await fetched(self.hub, view, variant, taker, silent=self.asked.json, retry=True)
            self.asked.note(f"{doing.name}: working on {parent} …")
            await take(doing, folder / SOURCE, folder / RESULT)
            done = await self._publish(view, release, variant, folder / RESULT)
            await asyncio.to_thread(_clear, folder)
        return replace(done, seconds=time.monotonic() - began)

    async def _known(self, variant: Variant) -> derivations_pb2.DerivedView | None:
        """Where the result is already, in the model and under the name that are wanted; the newest."""
        target = self.order.target
        request = derivations_pb2.FindDerivedRequest(source=variant.manifest.digest, step=self.order.doing.step)
        answer = await self.hub.ask(self.hub.derivations.FindDerived, request)
        for one in answer.derived:
            if one.model == str(target.model) and (target.variant is None or one.variant == target.variant):
                return one
        return None

    async def _publish(self, view: pb.ReleaseView, release: Release, variant: Variant, result: Path) -> Derived:
        wish, hub = self._wish(view, release, variant), self.hub
        with (
            await _read(self.asked, result) as source,
            meter(f"pushing {wish.model}", silent=self.asked.json) as shown,
        ):
            content = source.manifest.content_size

            def show(progress: Progress) -> None:
                had = content - progress.total
                shown.show(Step(content, had + progress.done, had))

            push = Push(hub, wish, source, watched=Watched(progress=show, note=noted(shown.note)))
            landed = await push.run(await next_number(hub, wish.model))
        return Derived(
            f"{view.model}:{view.number}",
            variant,
            self.order.doing,
            f"{wish.model}:{landed.settled.number}",
            wish.variant,
            made=landed.ours,
            size=content,
            wire=push.giver.wire,
        )

    def _wish(self, view: pb.ReleaseView, release: Release, variant: Variant) -> Wish:
        target, derivation = self.order.target, self.order.doing.derivation(variant.manifest.digest)
        if target.variant is not None:
            wish = added_to(Wish(target.model, target.channel, {}, {}, target.note or release.note), release)
            return replace(wish, variant=target.variant, selector=target.selector, derivation=derivation)
        parent = Parent(release.model, view.number, digest_of(view.signed.release), ROLE)
        wish = Wish(target.model, target.channel, dict(release.labels), {}, target.note, (parent,))
        return replace(wish, derivation=derivation, licence=release.licence, datasets=release.datasets)


async def _read(asked: Asked, folder: Path) -> Source:
    with meter(f"reading {folder.name}", silent=asked.json) as shown:

        def work(check: Check) -> Source:
            def progress(done: int, total: int) -> None:
                check()
                shown.show(Step(total, done))

            return scan(folder, progress=progress)

        return await in_thread(work)


def _folder(variant: Variant, doing: Doing) -> Path:
    return usual_cache() / "derive" / f"{variant.manifest.digest.hex()[:12]}-{doing.step.hex()[:12]}"


def _locked(folder: Path) -> Lock:
    make_folder(folder)
    return lock_folder(folder, LOCK)


def _clear(folder: Path) -> None:
    """What was read and made is not needed any more."""
    for name in (SOURCE, RESULT):
        remove_tree(folder / name)


def describe(done: Derived) -> dict[str, object]:
    """For programs."""
    model, _, number = done.release.rpartition(":")
    return {
        "parent": done.parent,
        "parent_variant": done.variant.name,
        "recipe": done.doing.recipe or None,
        "command": list(done.doing.command) or None,
        "step": to_text(done.doing.step),
        "model": model,
        "number": int(number),
        "variant": done.name,
        "made": done.made,
        "bytes_before": done.variant.manifest.content_size,
        "bytes": done.size or None,
        "bytes_wire": done.wire,
        "seconds": done.seconds,
    }


def text(done: Derived) -> str:
    """For people."""
    what = f"{done.release} {done.name}" if done.name != DEFAULT_VARIANT else done.release
    if not done.made:
        return f"{what} is what {done.doing.name} makes of {done.parent}: it was there already, and nothing was done."
    before = done.variant.manifest.content_size
    sizes = f"{size(done.size)} of {size(before)} ({share(done.size, before)})"
    return "\n".join(
        [
            f"Published {what}: {sizes}, by {done.doing.name} from {done.parent}, in {duration(done.seconds)}.",
            f"Step {to_text(done.doing.step)[:19]}…; the same step on the same version is not taken again.",
            f"Next: modelsyncctl promote {done.release} {DEFAULT_CHANNEL}",
        ]
    )
