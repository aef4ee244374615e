"""The only place where a release becomes findable: its files' headers and its card are read, and traits made of them.

Traits are made when a release was committed, before whoever pushed it is told. What could not be read then, what a kill
came before, and what an earlier version of the rules made, is made in the background. Law: a release is never refused
for what can't be read of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from cloud_hub.catalog import Catalog, Stale
from cloud_hub.contents import Content, Contents
from modelsyncd.card import CARD_BYTES, CARD_FILE, NO_CARD, Card, read_card
from modelsyncd.daemon.log import Log
from modelsyncd.facts import Facts, facts_of
from modelsyncd.names import ModelName, ModelRef, parse_model
from modelsyncd.query.traits import Trait, traits_of
from modelsyncd.release import ManifestRef, Release
from modelsyncd.wire.nouns import decode_release

AT_ONCE = 20  # releases that are looked up at once
PAUSE = 0.05  # seconds between two of them: pushes and sessions come first
AGAIN = 60.0  # seconds until what could not be read is tried again
REST = 900.0  # seconds until it is looked whether a push left something behind


class Indexer:
    """Reads what releases are found by. Everything but `run` blocks; safe to use from any thread."""

    def __init__(
        self,
        catalog: Catalog,
        contents: Contents,
        *,
        changed: Callable[[Collection[ModelName]], None] = lambda _: None,
    ) -> None:
        """`changed` hears, in the loop's thread, of which models `run` made traits anew, at the end of each round."""
        self._catalog = catalog
        self._contents = contents
        self._changed = changed

    def index(self, release: Release) -> None:
        """Makes a release findable that was committed a moment ago. What can't be done now, is done by `run`."""
        try:
            self._catalog.traits.keep(release, self.traits(release))
        except Exception as error:  # noqa: BLE001 - what a file makes a reader do must not undo a push
            Log().failure("release.not-indexed", error, model=str(release.model), number=release.number)

    def traits(self, release: Release) -> Sequence[Trait]:
        """By what it is found. Raises DamageError, DiskError, RoadError when its files can't be read."""
        facts = {variant.name: self.facts(variant.manifest) for variant in release.variants}
        return traits_of(release, facts, self.card(release))

    def facts(self, ref: ManifestRef) -> Facts:
        """What the files of one variant are. Raises as `traits`."""
        content = self._contents.get(ref)
        return facts_of(content.manifest, content.read)

    def card(self, release: Release) -> Card:
        """The model card among the files of the first variant that has one. Raises as `traits`."""
        for variant in release.variants:
            raw = _card_of(self._contents.get(variant.manifest))
            if raw is not None:
                return read_card(raw)
        return NO_CARD

    def again(self, stale: Stale) -> None:
        """Makes the traits of a release anew. Raises as `traits`, and NotFoundError when it is gone."""
        ref = ModelRef(parse_model(stale.model), number=stale.number)
        row = self._catalog.models.release(ref)
        release = decode_release(row.signed.release)
        self._catalog.traits.keep(release, self.traits(release))

    async def run(self) -> None:
        """Makes anew what is stale, until it is cancelled; what can't be read is left for the next round."""
        log = Log()
        while True:
            left = await self._round(log)
            await asyncio.sleep(AGAIN if left else REST)

    async def _round(self, log: Log) -> bool:
        """Whether something is left that could not be read."""
        done, failed = 0, False
        models: set[str] = set()
        before: int | None = None
        while stale := await asyncio.to_thread(self._catalog.traits.stale, AT_ONCE, before):
            for one in stale:
                try:
                    await asyncio.to_thread(self.again, one)
                    done += 1
                    models.add(one.model)
                except Exception as error:  # noqa: BLE001 - nor end the hub, at this start and each after it
                    failed = True
                    log.failure("release.not-indexed", error, model=one.model, number=one.number)
                await asyncio.sleep(PAUSE)
            before = stale[-1].id
        if done:
            log.info("releases.indexed", count=done)
            self._changed(list(map(parse_model, models)))
        return failed


def _card_of(content: Content) -> bytes | None:
    for index, file in enumerate(content.manifest.files):
        if file.path == CARD_FILE and file.size:
            return bytes(content.read(index, 0, min(file.size, CARD_BYTES)))
    return None
