"""Lives of a hub's stores that can be led on from wherever they were cut off, for tests that kill them.

Whoever pushes does what `modelsyncctl push` does when it is given again: offers the release, and sends what is missing.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from cloud_hub import codings, repack, underway
from cloud_hub.app import _write_context
from cloud_hub.arrivals import Arrivals
from cloud_hub.catalog import By, Catalog
from cloud_hub.catalog.retentions import RetentionRow
from cloud_hub.collector import Collector
from cloud_hub.commit import HubIntake
from cloud_hub.enrol_api import EnrolService
from cloud_hub.stores import Stores, open_stores
from cloud_hub.verify import Verification
from modelsyncd.codec.registry import READABLE, Codec, decode
from modelsyncd.digest import digest_of
from modelsyncd.errors import DamageError
from modelsyncd.names import ModelRef, parse_model
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Part
from modelsyncd.store.blobs import open_blobs
from modelsyncd.store.packs import PackReader, Place, Record
from modelsyncd.trust import keys
from modelsyncd.trust.identity import Kind, Peer
from tests.fakes.hub_store import ADMIN, spoil
from tests.fakes.old_catalogs import as_of
from tests.fakes.publisher import Publication, publication

Tell = Callable[..., None]
STEP = 2_048  # bytes of a chunk
BATCH = 3  # chunks that are on their way at once: the window
PACK = 20_000  # bytes of a pack: a few of them for each release
NOW = 1_000_000.0
HELMET, VEST = parse_model("acme/helmet"), parse_model("acme/vest")
CODINGS = 5_000  # bytes of codings that are kept: a pack of them, and not two


def _release(number: int) -> Publication:
    rng = random.Random(1)
    content = bytearray(rng.randbytes(11 * STEP - 100))
    for change in range(1, number):
        at = 2 * change * STEP
        content[at : at + 2 * STEP] = random.Random(change + 10).randbytes(2 * STEP)
    return publication({"m": bytes(content)}, number=number, channel="stable", step=STEP)


RELEASES = tuple(map(_release, (1, 2, 3)))


class HubTale:
    """From an empty folder: a node is let in, three releases are pushed, codings come and go."""

    name = "hub"

    def begin(self, root: Path) -> None:
        root.mkdir()

    def live(self, root: Path, tell: Tell) -> None:
        with patch.object(asyncio, "to_thread", _here), patch.object(codings, "GATHERED", 1_000):
            asyncio.run(self._live(root, tell))

    async def _live(self, root: Path, tell: Tell) -> None:
        tell("phase", "open")
        stores = _open(root)
        _write_context(stores, root, "127.0.0.1:1")
        await self._look(stores, tell)
        tell("phase", "enrol")
        _let_in(stores, root, tell)
        for publication_ in RELEASES:
            await push(stores, publication_, tell)
        tell("phase", "move")
        row = stores.catalog.models.promote(ModelRef(HELMET, number=2), "canary", "admin/tester", "", NOW)
        tell("moved", row.to_number)
        stores.catalog.nodes.report("n1", b"report", NOW)
        tell("reported")
        _code(stores, root, tell)
        await _collect(stores, tell)
        tell("phase", "close")
        stores.close()

    async def _look(self, stores: Stores, tell: Tell) -> None:
        """What a hub does that found damage."""

    def check(self, root: Path, told: Sequence[Sequence[Any]]) -> None:
        """Nothing that was acknowledged is lost, and nothing dangles: before anything is repaired."""
        check_catalogue(root, told, spoiled=0)

    def check_end(self, root: Path, told: Sequence[Sequence[Any]]) -> None:
        check_catalogue(root, told, spoiled=0)
        stores = _open(root)
        try:
            assert asyncio.run(_verified(stores)) == []
            rows = stores.catalog.models.history(HELMET).releases
            assert [(row.number, row.variants[0].manifest.digest) for row in rows] == [
                (number, RELEASES[number - 1].manifest) for number in (3, 2, 1)
            ]
            assert {row.name: row.number for row in stores.catalog.models.channels(HELMET)} == {
                "stable": 3,
                "canary": 2,
            }
            assert [node.name for node in stores.catalog.nodes.list()] == ["n1"]
        finally:
            stores.close()
        assert list((root / "spool").glob("*.pack")) == []


class WornTale(HubTale):
    """A hub of an earlier format that was killed in the middle of a push, and has a bad sector."""

    name = "worn hub"

    def begin(self, root: Path) -> None:
        root.mkdir()
        child = os.fork()
        if child == 0:
            with patch.object(asyncio, "to_thread", _here):
                asyncio.run(self._die_pushing(root))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        as_of(1, root / "catalog.db")

    async def _die_pushing(self, root: Path) -> None:
        stores = _open(root)
        await push(stores, RELEASES[0], lambda *_: None)
        stores.close()
        spoil(stores.catalog, root, RELEASES[0].chunks[5])
        stores = _open(root)
        await push(stores, RELEASES[1], lambda *_: None, batches=1)
        os._exit(0)

    async def _look(self, stores: Stores, tell: Tell) -> None:
        tell("phase", "scrub")
        await _verified(stores)

    def check(self, root: Path, told: Sequence[Sequence[Any]]) -> None:
        check_catalogue(root, told, spoiled=1)


async def push(stores: Stores, what: Publication, tell: Tell, batches: int = 1_000) -> None:
    """As a session would drive it, from wherever it stood."""
    tell("phase", "push")
    reading = Arrivals(stores.contents)
    intake = HubIntake(ADMIN, stores.catalog, stores.stock, reading, tell=lambda _: None, clock=lambda: NOW)
    settled = await intake.consider(what.offer)
    if settled is None:
        for part in Part:
            missing = (await intake.survey(what.offer, part)).ordinals
            for start in range(0, min(len(missing), batches * BATCH), BATCH):
                some = list(missing[start : start + BATCH])
                tell("took", what.release.number, part.name, some)
                chunks = await what.load(what.manifest, part, some, READABLE, ())
                await intake.keep([Keep(what.offer, part, c.ordinal, Codec(c.codec), c.payload, None) for c in chunks])
                tell("kept", what.release.number, part.name, some)
        if batches < 1_000:
            return
        tell("phase", "commit")
        settled = await intake.complete(what.offer)
    tell("pushed", settled.number, what.manifest.hex())


def check_catalogue(root: Path, told: Sequence[Sequence[Any]], *, spoiled: int) -> None:
    """Raises AssertionError when an acknowledged push is lost, or a row leads to bytes that are not there or wrong."""
    _check_travels(told)
    if not (root / "catalog.db").exists():
        assert not any(word[0] in ("kept", "pushed", "enrolled") for word in told)
        return
    acknowledged = {word[1]: word[2] for word in told if word[0] == "pushed"}
    with _copied(root) as catalog:
        models = [row.model for row in catalog.models.list()]
        rows = catalog.models.history(HELMET).releases if models else ()
        found = {row.number: row.variants[0].manifest.digest.hex() for row in rows}
        assert sorted(found) == list(range(1, len(found) + 1))
        assert acknowledged.items() <= found.items(), "an acknowledged push is lost"
        known = catalog.chunks.page(None, 1_000_000)
        reader = PackReader(root / "spool", open_blobs(f"file://{root}/packs"))
        wrong = [place for place in known if not _is_there(reader, place)]
        assert len(wrong) <= spoiled, "rows lead to bytes that are not there"
        kept = {path.stem for path in (root / "codings").rglob("*.pack")}
        assert catalog.codings.packs().keys() <= kept, "rows lead to codings that are not there"
        if any(word[0] == "enrolled" for word in told):
            assert catalog.nodes.known_key("n1")
        if any(word[0] == "reported" for word in told):
            assert catalog.nodes.get("n1").report == b"report"


@contextmanager
def _copied(root: Path) -> Iterator[Catalog]:
    """The catalogue as the next hub will find it, left as it is: to open one brings it up to date."""
    with TemporaryDirectory(dir=root.parent) as place:
        for file in ("catalog.db", "catalog.db-wal"):
            if (root / file).exists():
                shutil.copy(root / file, place)
        with Catalog.open(f"sqlite:///{place}/catalog.db") as catalog:
            yield catalog


def _is_there(reader: PackReader, place: Place) -> bool:
    try:
        return digest_of(decode(place.codec, reader.read(place), place.plain_size)) == place.digest
    except DamageError:
        return False


def _check_travels(told: Sequence[Sequence[Any]]) -> None:
    kept: set[tuple[int, str, int]] = set()
    taken: set[tuple[int, str, int]] = set()
    again = 0
    deaths = sum(word[0] == "died" for word in told)
    for word, *rest in told:
        for each in ((rest[0], rest[1], ordinal) for ordinal in (rest[2] if word in ("took", "kept") else ())):
            if word == "kept":
                kept.add(each)
                continue
            assert each not in kept, f"{each} was durable, and is sent again"
            again += each in taken
            taken.add(each)
    assert again <= deaths * BATCH, f"{again} chunks were sent again, after {deaths} deaths"


def _open(root: Path) -> Stores:
    return open_stores(root, "", "", NOW, codings_bytes=CODINGS, pack_bytes=PACK)


def _let_in(stores: Stores, root: Path, tell: Tell) -> None:
    """A node with a key of its own asks, and asks again if it got no answer: its key stays the same."""
    nodes, kept = stores.catalog.nodes, root.with_suffix(".node")
    if not kept.exists():
        invite = nodes.invite("n1", {}, NOW + 1_000, NOW)
        key = keys.new_key()
        kept.write_bytes(f"{invite}\n".encode() + key)
    invite, _, private = kept.read_text().partition("\n")
    request = keys.new_request(private.encode(), Peer(Kind.NODE, "n1"))
    assert EnrolService(stores.authority, nodes, lambda: NOW)._enrol(invite, "n1", request)
    tell("enrolled")


def _code(stores: Stores, root: Path, tell: Tell) -> None:
    """Codings for two packs, of which one must go; and a pack that nobody knows."""
    tell("phase", "codings")
    for pack in range(2):
        payloads = [random.Random(100 * pack + each).randbytes(700) for each in range(5)]
        stores.codings.keep([Record(digest_of(each), Codec.DELTA, each, 9_000) for each in payloads])
        stores.codings.close()
    (root / "codings" / "aa").mkdir(exist_ok=True)
    (root / "codings" / "aa" / "aastray.pack").write_bytes(b"stray")
    tell("phase", "sweep")
    stores.codings.sweep()


async def _collect(stores: Stores, tell: Tell) -> None:
    """Two releases of which one goes, and with it packs, an hour after they were pushed."""
    first = stores.catalog.models.next_number(VEST)
    for number in (first, first + 1):
        content = {"v": random.Random(1_000 + number).randbytes(11 * STEP)}
        await push(stores, publication(content, model=str(VEST), number=number, step=STEP), lambda *_: None)
    tell("phase", "gc")
    stores.catalog.retentions.set(RetentionRow(str(VEST), 1, None, By("admin/tester", NOW)))
    stores.stock.underway._clock = lambda: time.monotonic() + 2 * underway.REMEMBERED
    with patch.object(repack, "SPARSE", 0.01):
        for _ in Collector(stores.catalog, stores.stock, stores.packs).run("admin/tester", dry=False, grace=0.0):
            pass


async def _verified(stores: Stores) -> list[object]:
    look = Verification(stores.catalog, stores.stock)
    async for _ in look.everything():
        pass
    return list(look.damaged)


async def _here(work: Callable[..., object], *arguments: object) -> object:
    return work(*arguments)
