"""A node's store and a session's pump that live in memory, for what the steward does with them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from edge_agent.stock import Stock
from edge_agent.watchers import Active
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import ConflictError, DamageError, ModelsyncError, NotFoundError
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.release import DEFAULT_VARIANT, ManifestRef, Release, SignedRelease, Variant
from modelsyncd.session.effects import Finished
from modelsyncd.session.events import Pace, Settled
from modelsyncd.session.frames import Assignment, Desired, Fault, Frame, Offer
from modelsyncd.session.progress import Progress
from modelsyncd.store.version import Version
from modelsyncd.wire.nouns import encode_release

P = ParamSpec("P")
R = TypeVar("R")


def version(model: ModelName, number: int) -> Version:
    """Content differs between models and numbers."""
    return Version(model, number, digest_of(f"{model}:{number}".encode()))


def offer(which: Version, content_size: int = 1_000) -> Offer:
    """A real release around content that does not exist."""
    ref = ManifestRef(which.manifest, 10, content_size, 1, bytes(32))
    release = Release(which.model, which.number, (Variant("default", ref),), labels={"task": "detect"})
    return Offer(SignedRelease(encode_release(release)), which.manifest)


def desired(generation: int, *wanted: tuple[ModelRef, int], keep: int = 2) -> Desired:
    """Channels with the numbers that they should lead to."""
    return Desired(
        generation,
        tuple(Assignment(ref.model, ref.channel or "", offer(version(ref.model, number))) for ref, number in wanted),
        keep,
    )


def _alone(method: Callable[Concatenate[FakeHoldings, P], R]) -> Callable[Concatenate[FakeHoldings, P], R]:
    """Lets one thread at a time change what is there."""

    @functools.wraps(method)
    def locked(self: FakeHoldings, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            return method(self, *args, **kwargs)

    return locked


@dataclass
class FakeHoldings:
    """edge_agent.stock.Store in memory; `broken` makes a method fail with its error."""

    stock: Stock = field(default_factory=Stock)
    broken: dict[str, ModelsyncError] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    unproven: set[Version] = field(default_factory=set)
    rotten: set[Version] = field(default_factory=set)
    variant: str = DEFAULT_VARIANT
    """Which form of its release the next version is that is switched to."""
    forms: int = 1
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    """As in the real one: what switches and what tidies may come from two threads."""

    def observe(self) -> Stock:
        self._called("observe")
        return self.stock

    def inspect(self) -> Stock:
        self._called("inspect")
        return self.stock

    def proven(self, version: Version) -> bool:
        return version not in self.unproven

    @_alone
    def prove(self, version: Version) -> None:
        self._called("prove")
        if version in self.rotten:
            self.stock = replace(self.stock, held=self.stock.held - {version}, damaged=self.stock.damaged | {version})
            raise DamageError("a bit was turned")
        self.unproven.discard(version)

    @_alone
    def activate(self, ref: ModelRef, version: Version) -> Active:
        self._called("activate")
        if version not in self.stock.held:  # it was deleted since it was seen
            raise NotFoundError(f"{version.model}:{version.number} is not on this node")
        assert version not in self.unproven
        folder = Path("/models") / str(ref.model)
        release = digest_of(f"release {version.number}".encode())
        path = folder / "versions" / str(version.number)
        channel_path = folder / (ref.channel or "")
        active = Active(
            *(ref, version.number, version.manifest, release, path, channel_path, 5.0),
            variant=self.variant,
            forms=self.forms,
        )
        before = self.stock.active.get(ref)
        previous = {**self.stock.previous, ref: before.version} if before is not None else self.stock.previous
        self.stock = replace(self.stock, active={**self.stock.active, ref: active}, previous=previous)
        return active

    @_alone
    def try_out(self, ref: ModelRef, version: Version, back: Version | None) -> Active:
        before = self.stock.previous
        active = self.activate(ref, version)
        self.stock = replace(self.stock, previous={**before, ref: back} if back is not None else before)
        return active

    @_alone
    def go_back(self, ref: ModelRef, version: Version) -> Active:
        self._called("go_back")
        unproven, self.unproven = self.unproven, set()
        active = self.try_out(ref, version, version)
        self.unproven = unproven
        return active

    @_alone
    def unlink(self, ref: ModelRef) -> None:
        self._called("unlink")
        self.stock = replace(self.stock, active={key: one for key, one in self.stock.active.items() if key != ref})

    @_alone
    def prune(self, version: Version) -> None:
        self._called("prune")
        if any(active.version == version for active in self.stock.active.values()):
            raise ConflictError(f"{version.model}:{version.number} is active", safe="it stays")
        self.stock = replace(self.stock, held=self.stock.held - {version}, damaged=self.stock.damaged - {version})

    @_alone
    def discard(self, manifest: Digest) -> None:
        self._called("discard")
        self.stock = replace(self.stock, staged=self.stock.staged - {manifest})

    def disk(self) -> tuple[int, int]:
        self._called("disk")
        return 500, 100

    @_alone
    def hold(self, *versions: Version) -> None:
        """These are whole now, and read a moment ago."""
        self.unproven -= set(versions)
        self.rotten -= set(versions)
        self.stock = replace(
            self.stock, held=self.stock.held | set(versions), damaged=self.stock.damaged - set(versions)
        )

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.broken:
            raise self.broken[name]


@dataclass
class FakePump:
    """edge_agent.steward.Fetcher; the test decides when and how a transfer ends."""

    taking: dict[Digest, int] = field(default_factory=dict)
    log: list[tuple[str, Digest]] = field(default_factory=list)
    far: Progress = field(default_factory=Progress)

    went: dict[Digest, int | None] = field(default_factory=dict)
    paces: list[Pace] = field(default_factory=list)
    said: list[Frame] = field(default_factory=list)

    def take(self, offer: Offer, priority: int = 0, *, gated: bool = False) -> None:
        assert gated, "a node fetches nothing without a plan"
        self.log.append(("take", offer.manifest))
        self.taking[offer.manifest] = priority

    def go(self, manifest: Digest, allowance: int | None = None) -> None:
        self.log.append(("go", manifest))
        self.went[manifest] = allowance

    def pace(self, pace: Pace) -> None:
        self.paces.append(pace)

    def say(self, frame: Frame) -> None:
        self.log.append(("say", digest_of(b"")))
        self.said.append(frame)

    def drop(self, manifests: Collection[Digest]) -> None:
        for manifest in manifests:
            self.log.append(("drop", manifest))
            self.taking.pop(manifest, None)

    def progress(self, manifest: Digest) -> Progress:
        return self.far if manifest in self.taking else Progress()

    def settle(self, holdings: FakeHoldings, which: Version, tell: Callable[[Finished], None]) -> None:
        """The transfer ends well."""
        holdings.hold(which)
        self.taking.pop(which.manifest)
        settled = Settled(which.number, True, digest_of(b"release"))
        tell(Finished(which.manifest, settled, None, Progress(1_000, 200, 1_000, 500)))

    def fail(self, manifest: Digest, fault: Fault, tell: Callable[[Finished], None]) -> None:
        """The transfer ends with a fault."""
        self.taking.pop(manifest)
        tell(Finished(manifest, None, fault, Progress(1_000, 0, 300, 150)))
