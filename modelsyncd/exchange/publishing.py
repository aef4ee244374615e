"""The only place where a scanned source becomes a model's next release at a hub, over as many tries as that takes."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from modelsyncd.digest import digest_of
from modelsyncd.errors import NotFoundError, NumberTakenError
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
from modelsyncd.session.frames import OFFER_ID_BYTES, Offer
from modelsyncd.session.progress import Progress
from modelsyncd.store.source import Source
from modelsyncd.wire.nouns import encode_manifest, encode_release

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


def release_of(wish: Wish, ref: ManifestRef, number: int, producer: str, created_at: int) -> Release:
    """The release to offer. Raises BadInputError, LimitError."""
    return check(
        Release(
            model=wish.model,
            number=number,
            variants=variants_of(wish, ref),
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


def variants_of(wish: Wish, ref: ManifestRef) -> tuple[Variant, ...]:
    """The new variant among those that are kept: in the place of the one with its name, or last."""
    new = Variant(wish.variant, ref, wish.selector, wish.derivation)
    if all(one.name != new.name for one in wish.kept):
        return (*wish.kept, new)
    return tuple(new if one.name == new.name else one for one in wish.kept)


def ref_of(manifest: Manifest, manifest_bytes: bytes) -> ManifestRef:
    """How a release names its manifest."""
    return ManifestRef(
        digest=digest_of(manifest_bytes),
        size=len(manifest_bytes),
        content_size=manifest.content_size,
        files=len(manifest.files),
        chunk_digests=piece_digests(manifest_bytes),
    )


@dataclass
class Push:
    """One push, over as many tries and numbers as it takes; `bases` are what it may be coded against."""

    hub: Hub
    wish: Wish
    source: Source
    bases: Sequence[LocalBase] = ()
    coding: Coding = Coding.AUTO
    retry: bool = True
    watched: Watched = field(default_factory=Watched)
    ref: ManifestRef = field(init=False)
    giver: SourceGiver = field(init=False)
    id: bytes = field(init=False)

    def __post_init__(self) -> None:
        manifest_bytes = encode_manifest(self.source.manifest)
        self.ref = ref_of(self.source.manifest, manifest_bytes)
        self.id = self.wish.id or os.urandom(OFFER_ID_BYTES)
        self.giver = SourceGiver(self.ref.digest, manifest_bytes, self.source, self.bases, self.coding)

    async def run(self, number: int) -> Landed:
        """Begins with this number. Raises NumberTakenError when others are always first, and what ends a transfer."""
        began, created_at = time.monotonic(), int(time.time())
        for tried in range(1, NUMBERS_TRIED + 1):
            release = encode_release(release_of(self.wish, self.ref, number, self.hub.me, created_at))
            offer = Offer(SignedRelease(release), self.ref.digest, self.wish.channel, self.id)
            try:
                settled = await self._offer(offer)
            except NumberTakenError as error:
                if tried == NUMBERS_TRIED:
                    raise
                number = error.next_number or await insist(
                    lambda: next_number(self.hub, self.wish.model), retry=self.retry, note=self.watched.note
                )
                continue
            break
        # A try whose answer was lost may have published it: then the hub says "there already", and it is ours.
        ours = settled.created or settled.release_digest == digest_of(release)
        return Landed(settled, ours, time.monotonic() - began)

    async def _offer(self, offer: Offer) -> Settled:
        def attempt() -> Awaitable[Settled]:
            say = partial(Pump.say, frame=offer)
            holds = [one.name for one in self.bases]
            self.watched.begin()
            return carry(self.hub, say, offer.manifest, giver=self.giver, holds=holds, show=self.watched.progress)

        return await insist(attempt, retry=self.retry, note=self.watched.note, moved=lambda: self.giver.wire)
