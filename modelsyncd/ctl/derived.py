"""The only place that carries a derivation through: look whether it is there, fetch, take the step, publish.

What is fetched lies in a folder of its own below the cache, named by the version, so that a try that was cut off goes
on from it; it is removed when the result is published. What is made goes into a folder that no other try had: a process
that outlived its try could still write to that one's.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked
from modelsyncd.ctl.fetched import fetched
from modelsyncd.ctl.figures import duration, share, size
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.ctl.progress import Step, meter
from modelsyncd.ctl.pushing import read
from modelsyncd.ctl.retry import insist, noted
from modelsyncd.digest import digest_of, to_text
from modelsyncd.errors import BadInputError, DiskError, ModelsyncError, NotFoundError, RoadError
from modelsyncd.exchange import news
from modelsyncd.exchange.adding import added_to
from modelsyncd.exchange.arranging import arrange
from modelsyncd.exchange.derivation import Doing, reopen, take
from modelsyncd.exchange.folder_taker import FolderTaker
from modelsyncd.exchange.manifests import variant_of
from modelsyncd.exchange.places import usual_cache
from modelsyncd.exchange.publishing import Push, Watched, Wish, next_number
from modelsyncd.names import DEFAULT_CHANNEL, ModelName, ModelRef
from modelsyncd.release import DEFAULT_VARIANT, Parent, Release, Variant
from modelsyncd.session.progress import Progress
from modelsyncd.store.durable import Lock, clear_leftovers, lock_folder, make_folder, remove_tree
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import derivations_pb2

ROLE = "derived-by"
SOURCE, LOCK = "source", "lock"
RESULT = "result"  # what the names of results begin with


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
        if order.target.channel and not done.made:
            promote = pb.PromoteRequest(ref=done.release, channel=order.target.channel)
            await hub.ask(hub.catalog.Promote, promote)
    asked.answer(describe(done), text(done))


async def watch(asked: Asked, ref: ModelRef, order: Order) -> None:
    """For each release from this one on, else from the newest, until it is interrupted. Lost links are waited for.

    What can't be made of a release is told, and the next one is waited for: whoever begins again tries it again.
    """
    async with connect(asked) as hub:
        await hub.greet()  # a wrong address is told at once; only a link that was good is tried again
        work = _Deriving(asked, hub, order)
        first = ref.number if ref.number is not None else await work.newest(ref.model)
        asked.note(f"Watching {ref.model} at {hub.address}; end with Ctrl-C.")
        async for view in news.releases(hub, ref.model, first - 1):
            await insist(lambda view=view: work.follow(view), retry=True, note=asked.note)  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class _Deriving:
    """One order at one hub."""

    asked: Asked
    hub: Hub
    order: Order

    async def newest(self, model: ModelName) -> int:
        """The number of the newest release; 1 while there is none."""
        try:
            return (await self.hub.release(str(model))).number
        except NotFoundError:
            return 1

    async def follow(self, view: pb.ReleaseView) -> None:
        """Makes what the release lacks, if it lacks it, and says so. Raises RoadError."""
        target = self.order.target.variant
        if any(one.name == target and one.derivation is None for one in shape.opened(view).variants):
            return  # it is somebody's own, or the one that is read
        try:
            done = await self.derive(view, again=False)
        except RoadError:
            raise
        except ModelsyncError as error:
            parent = f"{view.model}:{view.number}"
            fault = {"code": error.code, "message": error.message, "safe": error.safe, "hint": error.hint}
            self.asked.event({"parent": parent, "error": fault}, f"{parent}: {error.message}")
            return
        if done.release != done.parent:
            self.asked.event(describe(done), text(done))

    async def derive(self, view: pb.ReleaseView, *, again: bool) -> Derived:
        """What came of it."""
        release, doing, target = shape.opened(view), self.order.doing, self.order.target
        variant = self._read_from(release)
        parent = f"{view.model}:{view.number}"
        if target.variant == variant.name:
            raise BadInputError(f"{variant.name} is the variant that is read", hint="give the result another name")
        known = None if again else await self._known(variant)
        if known is not None:
            return await self._taken_over(view, release, variant, known)
        folder, began = _folder(variant, doing), time.monotonic()
        with await asyncio.to_thread(_locked, folder):
            await asyncio.to_thread(_prepare, folder)
            taker = FolderTaker(folder / SOURCE, variant, view.number, force=True)
            await fetched(self.hub, view, variant, taker, silent=self.asked.json, retry=True)
            self.asked.note(f"{doing.name}: working on {parent} …")
            result = folder / f"{RESULT}-{secrets.token_hex(8)}"
            await take(doing, folder / SOURCE, result)
            done = await self._publish(view, release, variant, result)
            await asyncio.to_thread(_clear, folder)
        return replace(done, seconds=time.monotonic() - began)

    def _read_from(self, release: Release) -> Variant:
        """The variant that is named; without a name the only one that is not what we make of it."""
        others = [one for one in release.variants if one.name != self.order.target.variant]
        only = others[0].name if len(others) == 1 else None
        return variant_of(release, self.order.variant or only)

    async def _taken_over(
        self, view: pb.ReleaseView, release: Release, variant: Variant, known: derivations_pb2.DerivedView
    ) -> Derived:
        """What is there; if the newest release lacks it, one that has it, too.

        Two who make different variants add theirs to the same release, and neither of the two that come of it has both.
        """
        target, parent = self.order.target, f"{view.model}:{view.number}"
        place = f"{known.model}:{known.number}"
        done = Derived(parent, variant, self.order.doing, place, known.variant, made=False)
        if any(self._is_made(one, variant) for one in release.variants):
            return replace(done, release=parent)
        if target.variant is None or view.number != await self.newest(release.model):
            return done
        found = variant_of(shape.opened(await self.hub.release(place)), known.variant).manifest
        settled = await arrange(self.hub, self._wish(view, release, variant), found)
        return replace(done, release=f"{target.model}:{settled.number}", made=settled.created, size=found.content_size)

    def _is_made(self, one: Variant, variant: Variant) -> bool:
        made = one.derivation == self.order.doing.derivation(variant.manifest.digest)
        return made and one.name == self.order.target.variant

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
            await read(self.asked, result) as source,
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
        parent = Parent(release.model, view.number, digest_of(view.signed.release), ROLE)
        if target.variant is not None:
            bare = Wish(target.model, target.channel, {}, {}, target.note or release.note, (parent,))
            wish = added_to(bare, release)
            return replace(wish, variant=target.variant, selector=target.selector, derivation=derivation)
        wish = Wish(target.model, target.channel, dict(release.labels), {}, target.note, (parent,))
        return replace(wish, derivation=derivation, licence=release.licence, datasets=release.datasets)


def _folder(variant: Variant, doing: Doing) -> Path:
    return usual_cache() / "derive" / f"{variant.manifest.digest.hex()[:12]}-{doing.step.hex()[:12]}"


def _locked(folder: Path) -> Lock:
    make_folder(folder)
    return lock_folder(folder, LOCK)


def _prepare(folder: Path) -> None:
    """What an earlier try read can be written to again, and what it made is gone."""
    reopen(folder / SOURCE)
    _clear_results(folder)


def _clear(folder: Path) -> None:
    """What was read and made is not needed any more."""
    reopen(folder / SOURCE)
    remove_tree(folder / SOURCE)
    _clear_results(folder)


def _clear_results(folder: Path) -> None:
    """Of all tries. One that somebody still writes to may stay: it is nobody's result, and the next try looks again."""
    with suppress(DiskError):
        for path in folder.glob(f"{RESULT}*"):
            reopen(path)  # a command that copies folders copies that they are read-only, too
            remove_tree(path)
        clear_leftovers(folder)


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
