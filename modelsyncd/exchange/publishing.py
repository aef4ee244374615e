"""The only place where a scanned source becomes a model's next release at a hub, over as many tries as that takes."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from modelsyncd.digest import digest_of
from modelsyncd.errors import DamageError, NotFoundError, NumberTakenError
from modelsyncd.exchange.coder import Coding
from modelsyncd.exchange.conversation import carry
from modelsyncd.exchange.hub import Hub
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.exchange.retry import Note, insist
from modelsyncd.exchange.source_giver import SourceGiver
from modelsyncd.link.pump import Pump
from modelsyncd.manifest import Manifest, piece_digests
from modelsyncd.names import ModelName
from modelsyncd.release import DEFAULT_VARIANT, Derivation, ManifestRef, Parent, Release, SignedRelease, Variant, check
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import OFFER_ID_BYTES, PART_OF_IT, Offer
from modelsyncd.session.progress import Progress
from modelsyncd.store.source import Source
from modelsyncd.wire.nouns import encode_manifest, encode_release

T = TypeVar("T")

ROUNDS = 3  # over all variants of a release
NUMBERS_TRIED = 10  # each is lost to somebody who published meanwhile; ten in a row means a storm


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants published, but for its content; `channel` is moved to it, "" for none.

    The content becomes the variant called `variant`, beside those of `kept` (variants that an earlier release has): it
    takes the place of the one with its name. `id` names the wish over all its tries (see `Offer.id`); empty for a new
    one.
    """

    model: ModelName
    channel: str
    labels: dict[str, str]
    metrics: dict[str, float]
    note: str
    parents: tuple[Parent, ...] = ()
    id: bytes = b""
    licence: str = ""
    datasets: tuple[str, ...] = ()
    variant: str = DEFAULT_VARIANT
    selector: Mapping[str, str] = field(default_factory=dict)
    derivation: Derivation | None = None
    kept: tuple[Variant, ...] = ()


@dataclass(frozen=True, slots=True)
class Watched:
    """Who is told how it goes: of each try that begins, of progress, and of each lost try."""

    begin: Callable[[], None] = lambda: None
    progress: Callable[[Progress], None] = lambda _: None
    note: Note = lambda _error, _seconds: None


@dataclass(frozen=True, slots=True)
class Landed:
    """What came of it; `ours` is False when the same content was there already. `seconds` count from the offer."""

    settled: Settled
    ours: bool
    seconds: float


async def next_number(hub: Hub, model: ModelName) -> int:
    """The number that a model's next release will have, if nobody publishes meanwhile."""
    try:
        return (await hub.release(str(model))).number + 1
    except NotFoundError:
        return 1


def release_of(
    wish: Wish, ref: ManifestRef, number: int, producer: str, created_at: int, *, also: Sequence[Variant] = ()
) -> Release:
    """The release to offer, with the variants `also` beside the wish's own. Raises BadInputError, LimitError."""
    return check(
        Release(
            model=wish.model,
            number=number,
            variants=variants_of(wish, ref, also),
            parents=wish.parents,
            labels=wish.labels,
            metrics=wish.metrics,
            producer=producer,
            created_at=created_at,
            note=wish.note,
            licence=wish.licence,
            datasets=wish.datasets,
        )
    )


def variants_of(wish: Wish, ref: ManifestRef, also: Sequence[Variant] = ()) -> tuple[Variant, ...]:
    """The new variants among those that are kept: in the place of the one with their name, or last."""
    found = {one.name: one for one in wish.kept}
    found |= {one.name: one for one in (Variant(wish.variant, ref, wish.selector, wish.derivation), *also)}
    return tuple(found.values())


def ref_of(manifest: Manifest, manifest_bytes: bytes) -> ManifestRef:
    """How a release names its manifest."""
    return ManifestRef(
        digest=digest_of(manifest_bytes),
        size=len(manifest_bytes),
        content_size=manifest.content_size,
        files=len(manifest.files),
        chunk_digests=piece_digests(manifest_bytes),
    )


@dataclass(frozen=True, slots=True)
class Form:
    """One more variant that is pushed with the wish's own."""

    variant: str
    source: Source
    selector: Mapping[str, str] = field(default_factory=dict)
    derivation: Derivation | None = None


@dataclass
class Push:
    """One push, over as many tries and numbers as it takes; `bases` are what it may be coded against.

    `also` are variants that come with it. Each travels by itself, and all become one release when the last is there.
    """

    hub: Hub
    wish: Wish
    source: Source
    bases: Sequence[LocalBase] = ()
    coding: Coding = Coding.AUTO
    retry: bool = True
    watched: Watched = field(default_factory=Watched)
    also: Sequence[Form] = ()
    renew: Callable[[], Awaitable[Wish]] | None = None
    """Makes the wish anew when somebody else published meanwhile: what it adds to may be another release now."""
    refs: tuple[ManifestRef, ...] = field(init=False)
    givers: tuple[SourceGiver, ...] = field(init=False)
    id: bytes = field(init=False)
    at: int = field(init=False, default=0)
    """Which of the givers gives."""

    def __post_init__(self) -> None:
        self.id = self.wish.id or os.urandom(OFFER_ID_BYTES)
        given = [self._given(source) for source in (self.source, *(form.source for form in self.also))]
        self.refs = tuple(ref for ref, _ in given)
        self.givers = tuple(giver for _, giver in given)

    def _given(self, source: Source) -> tuple[ManifestRef, SourceGiver]:
        data = encode_manifest(source.manifest)
        ref = ref_of(source.manifest, data)
        return ref, SourceGiver(ref.digest, data, source, self.bases, self.coding)

    @property
    def ref(self) -> ManifestRef:
        """Of the wish's own variant."""
        return self.refs[0]

    @property
    def giver(self) -> SourceGiver:
        """Of the wish's own variant."""
        return self.givers[0]

    async def run(self, number: int) -> Landed:
        """Begins with this number. Raises NumberTakenError when others are always first, and what ends a transfer."""
        began, created_at = time.monotonic(), int(time.time())
        for tried in range(1, NUMBERS_TRIED + 1):
            release = self._release(number, created_at)
            try:
                settled = await self._offer_all(SignedRelease(release))
            except NumberTakenError as error:
                if tried == NUMBERS_TRIED:
                    raise
                number = error.next_number or await self._insist(lambda: next_number(self.hub, self.wish.model))
                if self.renew is not None:
                    self.wish = await self._insist(self.renew)
                continue
            break
        # A try whose answer was lost may have published it: then the hub says "there already", and it is ours.
        ours = settled.created or settled.release_digest == digest_of(release)
        return Landed(settled, ours, time.monotonic() - began)

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await insist(ask, retry=self.retry, note=self.watched.note)

    def _release(self, number: int, created_at: int) -> bytes:
        also = [
            Variant(form.variant, ref, form.selector, form.derivation)
            for form, ref in zip(self.also, self.refs[1:], strict=True)
        ]
        return encode_release(release_of(self.wish, self.ref, number, self.hub.me, created_at, also=also))

    async def _offer_all(self, release: SignedRelease) -> Settled:
        """Offers each variant until the release is committed: what was whole may be found damaged meanwhile."""
        for _ in range(ROUNDS):
            for at, giver in enumerate(self.givers):
                self.at = at
                offer = Offer(release, giver.manifest, self.wish.channel, self.id)
                settled = await self._offer(offer, giver)
                if settled.number != PART_OF_IT:
                    return settled
        kept = ", ".join(one.name for one in self.wish.kept)
        raise DamageError(
            f"a variant of {self.wish.model} is not whole at the hub any more: {kept or 'one that was just pushed'}",
            safe="nothing was published; what was pushed stays at the hub",
            hint=f"push that variant again, then this; to see what is damaged: modelsyncctl verify {self.wish.model}",
        )

    async def _offer(self, offer: Offer, giver: SourceGiver) -> Settled:
        def attempt() -> Awaitable[Settled]:
            say = partial(Pump.say, frame=offer)
            holds = [one.name for one in self.bases]
            self.watched.begin()
            return carry(self.hub, say, offer.manifest, giver=giver, holds=holds, show=self.watched.progress)

        return await insist(attempt, retry=self.retry, note=self.watched.note, moved=lambda: giver.wire)
