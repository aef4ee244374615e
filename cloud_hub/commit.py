"""The only place where the hub takes what is pushed to it: consider, survey, keep, and commit in one transaction.

A release of several variants is offered once for each, and committed when the last of them is here whole.
Nothing is remembered between the steps, so a push that was cut goes on wherever it stood, after a restart too, and two
pushes of overlapping content share what either has brought. Bytes are durable before rows, rows before the release.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cloud_hub.arrivals import Arrivals
from cloud_hub.catalog import Catalog, ReleaseRow
from cloud_hub.events import Event, Moved, Released
from cloud_hub.licences import licence_of
from cloud_hub.stock import Stock
from modelsyncd.digest import Digest, digest_of, short
from modelsyncd.errors import BadInputError, DamageError, ModelsyncError, NotFoundError, NumberTakenError, RefusedError
from modelsyncd.fitting import check_selector
from modelsyncd.manifest import MANIFEST_PIECE
from modelsyncd.names import ModelRef, parse_channel
from modelsyncd.release import ManifestRef, Release
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import PART_OF_IT, Offer, Part
from modelsyncd.session.ports import Keeping, Missing
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.packs import Record
from modelsyncd.trust.identity import Peer
from modelsyncd.wire.nouns import decode_release

BASES = 16  # manifests that a pusher is told of
BASE_CHUNKS = 400_000  # chunks that are looked up, at least, to find out which manifests are here whole

_SAFE = "nothing was changed; chunks that were pushed before are kept"


@dataclass(frozen=True, slots=True)
class _Commit:
    """What became of a release, and what to tell whoever watches."""

    settled: Settled
    events: tuple[Event, ...]


class HubIntake:
    """Implements `session.ports.TakerStore` for one peer that pushes. Every call is one hop to a thread."""

    def __init__(
        self,
        peer: Peer,
        catalog: Catalog,
        stock: Stock,
        arrivals: Arrivals,
        *,
        tell: Callable[[Event], None],
        clock: Callable[[], float],
        index: Callable[[Release], None] = lambda _: None,
    ) -> None:
        """`index` makes a release findable that was committed a moment ago."""
        self._peer = peer
        self._licence = licence_of(peer, catalog)
        self._catalog = catalog
        self._stock = stock
        self._arrivals = arrivals
        self._tell = tell
        self._clock = clock
        self._index = index

    async def consider(self, offer: Offer) -> Settled | None:
        """See the port. Raises RefusedError, NumberTakenError, BadInputError and its kind."""
        done = await asyncio.to_thread(self._consider, offer)
        return None if done is None else self._told(done)

    async def survey(self, offer: Offer, part: Part) -> Missing:
        """See the port. Raises DiskFullError, DiskError, BadInputError and its kind, DamageError."""
        return await asyncio.to_thread(self._survey, offer, part)

    async def keep(self, batch: Sequence[Keep]) -> Keeping:
        """See the port. Raises DiskFullError, DiskError."""
        return await asyncio.to_thread(self._keep, batch)

    async def complete(self, offer: Offer) -> Settled:
        """See the port. Raises NumberTakenError, DamageError, DiskError."""
        return self._told(await asyncio.to_thread(self._complete, offer))

    def _told(self, done: _Commit) -> Settled:
        for event in done.events:
            self._tell(event)
        return done.settled

    # --- in a thread ---

    def _consider(self, offer: Offer) -> _Commit | None:
        release = self._release(offer)
        self._catalog.models.check_members(release)
        self._check_selectors(release)
        if self._has_each(release):
            with self._stock.underway.held(_refs(release)):
                return None if self._lacks(release) else self._commit(offer, release)
        expected = self._catalog.models.next_number(release.model)
        if release.number != expected:
            raise NumberTakenError(
                f"{release.model}:{release.number} can't be published: the next free number is {expected}",
                safe=_SAFE,
                hint=f"publish it as {release.model}:{expected}; no chunk travels twice",
                next_number=expected,
            )
        return None

    def _release(self, offer: Offer) -> Release:
        """The release in an offer, if this peer may push it. Asked at each step: a right may end half-way."""
        release = decode_release(offer.release.release)
        channel = parse_channel(offer.channel) if offer.channel else ""
        self._licence(release.model, channel)
        if release.producer != str(self._peer):
            raise RefusedError(
                f"the release says that {release.producer[:80]!r} made it, and {self._peer} pushes it", safe=_SAFE
            )
        for name, value in release.metrics.items():
            if not math.isfinite(value):
                raise BadInputError(f"metric {name[:40]!r} is {value}, and only finite numbers can be kept", safe=_SAFE)
        release.variant(offer.manifest)
        return release

    def _has_each(self, release: Release) -> bool:
        """Whether releases of the same model have all of these variants already, be they whole or not."""
        find, model = self._catalog.models.by_manifest, release.model
        return all(find(model, variant.manifest.digest) is not None for variant in release.variants)

    def _lacks(self, release: Release) -> bool:
        """Whether something of any variant is not here."""
        return not all(self._stock.is_whole(variant.manifest) for variant in release.variants)

    def _survey(self, offer: Offer, part: Part) -> Missing:
        release = self._release(offer)
        table, missing = self._stock.survey(_ref(offer, release), part)
        self._stock.reserve(self, offer.manifest, sum(table.sizes[ordinal] for ordinal in missing))
        bases = self._bases(release, len(table.sizes)) if missing and part is Part.CONTENT else ()
        return Missing(table.sizes, missing, bases)

    def _bases(self, release: Release, chunks: int) -> Sequence[Digest]:
        """Manifests that are here whole and likely to resemble what is pushed: parents, channels, newest.

        Of those only what this peer may hear of. Whether a large one is whole takes a while to find out: only as many
        are looked at as are worth the chunks.
        """
        left = max(chunks, BASE_CHUNKS)
        found: dict[Digest, None] = {}
        for ref in self._likely(release):
            left -= ref.content_size // MANIFEST_PIECE
            if left >= 0 and self._is_there(ref):
                found[ref.digest] = None
        return tuple(found)[:BASES]

    def _likely(self, release: Release) -> Sequence[ManifestRef]:
        rows = (*self._parents(release), *self._licence.likely(release.model, BASES))
        refs = {variant.manifest.digest: variant.manifest for row in rows for variant in row.variants}
        return [refs[digest] for digest in self._licence.bases(list(refs))]

    def _is_there(self, ref: ManifestRef) -> bool:
        try:
            return self._stock.was_whole(ref)
        except ModelsyncError:
            return False  # an old release that is damaged is no reason to refuse a new one

    def _parents(self, release: Release) -> Iterator[ReleaseRow]:
        for parent in release.parents:
            with suppress(NotFoundError):
                yield self._catalog.models.release(ModelRef(parent.model, number=parent.number))

    def _keep(self, batch: Sequence[Keep]) -> Keeping:
        first = batch[0]
        began = time.thread_time()
        ref = _ref(first.offer, self._release(first.offer))
        table = self._stock.table(ref, first.part)
        sound, foreign = self._sorted(batch)
        self._arrivals.warm(sound)
        arrived: list[Record] = []
        kept: list[int] = []
        spoiled = [keep.ordinal for keep in foreign]
        for keep in sound:
            chunk = self._arrivals.judged(keep, ref, table.digest(keep.ordinal), table.sizes[keep.ordinal])
            if chunk is None:
                spoiled.append(keep.ordinal)
                continue
            kept.append(keep.ordinal)
            arrived.append(chunk)
        self._stock.keep(arrived)
        self._stock.underway.kept(ref)
        self._stock.promises.kept(self, first.offer.manifest, sum(chunk.plain_size for chunk in arrived))
        return Keeping(tuple(kept), tuple(spoiled), time.thread_time() - began)

    def _sorted(self, batch: Sequence[Keep]) -> tuple[Sequence[Keep], Sequence[Keep]]:
        """What may be decoded, and what is coded against something that this peer should not know of."""
        named = list(dict.fromkeys(keep.base.manifest for keep in batch if keep.base is not None))
        allowed = set(self._licence.bases(named)) if named else set()
        sound = [keep for keep in batch if keep.base is None or keep.base.manifest in allowed]
        return sound, [keep for keep in batch if keep.base is not None and keep.base.manifest not in allowed]

    def _complete(self, offer: Offer) -> _Commit:
        release = self._release(offer)
        with self._stock.underway.held(_refs(release)):
            return self._completed(offer, release)

    def _completed(self, offer: Offer, release: Release) -> _Commit:
        if not self._stock.is_whole(_ref(offer, release)):
            raise DamageError(
                f"chunks of {release.model}:{release.number} were found damaged while it was pushed",
                safe=_SAFE,
                hint="push it again: only what is missing travels",
            )
        if self._lacks(release):
            # The others come with offers of their own; the last of them commits what all of them are.
            self._stock.promises.end(self, offer.manifest)
            return _Commit(Settled(PART_OF_IT, False, digest_of(offer.release.release)), ())
        return self._commit(offer, release)

    def _check_selectors(self, release: Release) -> None:
        """Raises BadInputError for a variant that no node can ever meet.

        What a release of the model says already may be said again, so that others are added beside it.
        """
        for variant in release.variants:
            try:
                check_selector(variant.selector)
            except BadInputError as error:
                known = self._catalog.models.by_manifest(release.model, variant.manifest.digest)
                said = [] if known is None else [one.selector for one in known.variants if one.name == variant.name]
                if variant.selector not in said:
                    raise BadInputError(
                        f"variant {variant.name[:40]} of {release.model}: {error.message}",
                        safe=_SAFE,
                        hint=error.hint,
                    ) from error

    def _check_pieces(self, ref: ManifestRef) -> None:
        """Raises BadInputError for sizes and pieces that are not the manifest's: others would be given them as true.

        The manifest may have been read before, from another release that names its pieces rightly.
        """
        known = self._catalog.manifests.get(ref.digest)
        if known is None:
            self._stock.manifest(ref)
        elif known != ref:
            raise BadInputError(f"the release does not say what manifest {short(ref.digest)} is made of", safe=_SAFE)

    def _commit(self, offer: Offer, release: Release) -> _Commit:
        for variant in release.variants:
            self._check_pieces(variant.manifest)
        self._stock.promises.end(self, offer.manifest)
        passing(Point.RELEASE_WHOLE)
        before = self._channel(release, offer.channel)
        now = self._clock()
        settled = self._catalog.models.commit(
            offer.release,
            release,
            digest_of(offer.release.release),
            channel=offer.channel or None,
            who=str(self._peer),
            now=now,
            offer=offer.id,
        )
        passing(Point.RELEASE_COMMITTED)
        if settled.created:
            self._index(release)
        events: list[Event] = []
        if settled.created:
            events.append(Released(now, release.model, settled.number))
        after = self._channel(release, offer.channel) if offer.channel else before
        if before != after:
            who = str(self._peer)
            events.append(Moved(now, release.model, offer.channel, before, after, who, "push"))
        return _Commit(settled, tuple(events))

    def _channel(self, release: Release, channel: str) -> int:
        """The number that a channel names; 0 for none."""
        try:
            rows = self._catalog.models.channels(release.model)
        except NotFoundError:
            return 0
        return next((row.number for row in rows if row.name == channel), 0)


def _ref(offer: Offer, release: Release) -> ManifestRef:
    return release.variant(offer.manifest).manifest


def _refs(release: Release) -> Sequence[ManifestRef]:
    return [variant.manifest for variant in release.variants]
