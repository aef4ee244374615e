"""A hub with something of everything on its disk, and what becomes of it after a bit was turned."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cloud_hub.arrivals import Arrivals
from cloud_hub.commit import HubIntake
from cloud_hub.contents import Contents
from cloud_hub.efforts import EFFORTS, Efforts
from cloud_hub.offers import Offers
from cloud_hub.rights import anything
from cloud_hub.stores import Stores, open_stores
from modelsyncd.bases import gather
from modelsyncd.codec.registry import READABLE, decode
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import DamageError
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Part
from tests.fakes.hub_store import ADMIN, bring
from tests.fakes.publisher import STEP, Publication, numbers, publication, trained

_OLD = numbers(1, 3 * STEP // 4 - 3)
OLD = publication({"model.bin": _OLD}, channel="stable", dtype="f32")
NEW = publication({"model.bin": trained(_OLD, 2)}, number=2, channel="stable", dtype="f32")
BOTH = (OLD, NEW)
NAMES = [digest_of(bytes(chunk)) for what in BOTH for chunk in (*what.manifest_pieces, *what.chunks)]


@contextmanager
def opened(root: Path) -> Iterator[Stores]:
    stores = open_stores(root, "", "", 1_000.0)
    try:
        yield stores
    finally:
        stores.close()


async def make(root: Path, killed: Path) -> None:
    """Two releases, and codings of the second against the first; `killed` is the folder before an orderly stop."""
    with opened(root) as stores:
        for what in BOTH:
            await push(stores, what)
        await load(stores, NEW, Part.CONTENT, range(len(NEW.chunks)), (OLD.manifest,))
        copy(root, killed)


def copy(source: Path, target: Path) -> Path:
    """A hub's folder once more."""
    return Path(shutil.copytree(source, target))


async def push(stores: Stores, what: Publication) -> list[tuple[Part, int]]:
    """What a push of the same content sends."""
    intake = HubIntake(
        ADMIN,
        stores.catalog,
        stores.stock,
        Arrivals(Contents(stores.stock)),
        tell=lambda _: None,
        clock=lambda: 1_000.0,
    )
    sent = []
    if await intake.consider(what.offer) is None:
        for part in Part:
            missing = await intake.survey(what.offer, part)
            sent += [(part, ordinal) for ordinal in missing.ordinals]
            if missing.ordinals:
                await bring(intake, what, part, missing.ordinals)
        await intake.complete(what.offer)
    return sent


async def load(
    stores: Stores, what: Publication, part: Part, ordinals: Sequence[int], bases: Sequence[Digest] = ()
) -> Sequence[Encoded]:
    offers = Offers(stores.stock, stores.encoder, anything, Efforts(EFFORTS["smallest"]))
    return await offers.load(what.manifest, part, ordinals, READABLE, bases)


@dataclass
class Life:
    """`refused`: chunks that were not given; `wrong`: chunks that were given and are not what their digest says."""

    refused: set[Digest] = field(default_factory=set)
    wrong: set[Digest] = field(default_factory=set)
    sent: set[Digest] = field(default_factory=set)


async def live(root: Path) -> Life:
    """Opens the hub, gives every chunk, pushes both again, and gives every chunk once more; then all is right."""
    life = Life()
    with opened(root) as stores:
        await _give_all(stores, life)
        stores.stock.verify(NAMES)  # as the scrub does, in its own time
        for what in BOTH:
            for part, ordinal in await push(stores, what):
                life.sent.add(_name(what, part, ordinal))
        after = Life()
        await _give_all(stores, after)
        assert not after.wrong
        if after.refused and not _is_in_order(root):  # one page in hundreds: it needs a backup, and gives nothing wrong
            raise DamageError("the catalogue is damaged: SQLite finds its rows out of order")
        assert not after.refused
        assert not stores.stock.verify(NAMES)[1]
    return life


async def _give_all(stores: Stores, life: Life) -> None:
    for what in BOTH:
        for part, count in ((Part.MANIFEST, len(what.manifest_pieces)), (Part.CONTENT, len(what.chunks))):
            for ordinal in range(count):
                await _give(stores, life, what, part, ordinal)
                if what is NEW and part is Part.CONTENT:
                    await _give(stores, life, what, part, ordinal, OLD.manifest)


async def _give(stores: Stores, life: Life, what: Publication, part: Part, ordinal: int, *bases: Digest) -> None:
    name = _name(what, part, ordinal)
    try:
        (chunk,) = await load(stores, what, part, [ordinal], bases)
    except DamageError:
        life.refused.add(name)
        return
    size = len((what.manifest_pieces if part is Part.MANIFEST else what.chunks)[ordinal])
    try:
        base = None if chunk.base is None else gather(chunk.base.runs, lambda _, at, count: _OLD[at : at + count])
        plain = bytes(decode(chunk.codec, chunk.payload, size, base))
    except DamageError:
        plain = b""
    if digest_of(plain) != name:
        life.wrong.add(name)


def _name(what: Publication, part: Part, ordinal: int) -> Digest:
    return digest_of(bytes((what.manifest_pieces if part is Part.MANIFEST else what.chunks)[ordinal]))


def _is_in_order(root: Path) -> bool:
    with sqlite3.connect(root / "catalog.db") as connection:
        found: list[tuple[str]] = connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()
    return found == [("ok",)]


def records_of(root: Path) -> list[tuple[Digest, Path, int, int]]:
    """Digest, pack, offset and length of every chunk that the catalogue knows."""
    packs = {path.stem: path for folder in ("packs", "spool") for path in (root / folder).rglob("*.pack")}
    with sqlite3.connect(root / "catalog.db") as connection:
        rows = connection.execute(
            "SELECT digest, name, offset, length FROM chunks JOIN packs ON packs.id = chunks.pack_id"
        ).fetchall()
    connection.close()
    return sorted((Digest(digest), packs[name], offset, length) for digest, name, offset, length in rows)


def turn_in_place(root: Path, rng: random.Random) -> Digest:
    """Turns one bit in the row of a chunk's place; returns the chunk."""
    with sqlite3.connect(root / "catalog.db") as connection:
        digest, *_ = rng.choice(records_of(root))
        column = rng.choice(["digest", "pack_id", "offset", "length", "codec", "plain_size", "checksum"])
        connection.execute("PRAGMA foreign_keys = OFF")
        (value,) = connection.execute(f"SELECT {column} FROM chunks WHERE digest = ?", (digest,)).fetchone()  # noqa: S608
        if isinstance(value, bytes):
            at = rng.randrange(len(value))
            value = value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :]
        else:
            value ^= 1 << rng.randrange(31)
        connection.execute(f"UPDATE chunks SET {column} = ? WHERE digest = ?", (value, digest))  # noqa: S608
    connection.close()
    return digest


def turn_in_pages(root: Path, rng: random.Random) -> None:
    """Turns one bit of the catalogue's file in or beside a chunk's row, also in what SQLite keeps around it."""
    path = root / "catalog.db"
    raw = bytearray(path.read_bytes())
    pieces = {
        digest_of(bytes(piece)) for what in BOTH for piece in what.manifest_pieces
    }  # these are named elsewhere too
    digest = rng.choice([name for name, *_ in records_of(root) if name not in pieces])
    at = raw.find(digest) + rng.randrange(-12, 70)
    raw[at] ^= 1 << rng.randrange(8)
    path.write_bytes(raw)
