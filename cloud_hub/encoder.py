"""The only place where the hub codes chunks for a peer that holds something like them.

For each chunk: what it resembles most in the bases that the peer holds, and the coding against that, a kept one or one
that is made now and kept for the next node; and the chunk as it rests, when that is smaller. Whatever is wrong with a
base, the chunk goes as it rests: a base saves bytes, and never decides whether a transfer ends well. Everything here
blocks; the heavy part runs without Python's lock.
"""

from __future__ import annotations

import asyncio
import os
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from cloud_hub.codings import Codings
from cloud_hub.contents import Content, Contents
from cloud_hub.pairs import Pairs, Resemblance
from cloud_hub.stock import Stock
from cloud_hub.tables import check_ordinals
from modelsyncd.bases import Run
from modelsyncd.codec.profile import Profile
from modelsyncd.codec.registry import NEEDS_BASE, STUMBLES, Codec, decode, encode
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Buffer, Digest, digest_of
from modelsyncd.errors import ModelsyncError
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Base, Part
from modelsyncd.store.packs import Place, Record

CODING_FORMAT = 1  # part of every key: when the coding of the same bytes changes for the better, count on
SMALL = 512  # encoded bytes: to save a part of them is not worth the words about the base
PATIENCE = 60.0  # seconds to wait for another thread that makes the same coding
_RUN = struct.Struct("<qqq?qqqq")
_RUN_WORDS, _BASE_WORDS = 12, 40  # bytes that a run and a base take on the wire, about
_NO_GAIN = Record(Digest(bytes(32)), Codec.STORED, b"\0", 1)
"""A coding that says: nothing is smaller than the chunk as it rests. No real coding is stored plain."""


@dataclass(frozen=True, slots=True)
class _Way:
    """How chunks are coded: with which codecs, and how hard it is tried."""

    codecs: frozenset[Codec]
    profile: Profile


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a chunk will be given as: `size` payload bytes, coded against `base` in so many `runs`, or without one."""

    ordinal: int
    size: int
    base: Digest | None = None
    runs: int = 0


@dataclass(frozen=True, slots=True)
class _Job:
    """A chunk that may be coded: where it rests, what it resembles, and what is given if that does not help."""

    ordinal: int
    plainly: Encoded
    place: Place
    resting: Buffer
    like: Resemblance


class Encoder:
    """Codes chunks of committed manifests. Safe to use from any thread.

    Whoever calls it from an event loop holds `turns` meanwhile, so that no more of it runs at once than there are
    processors, and other hops to threads do not wait behind it.
    """

    def __init__(self, stock: Stock, contents: Contents, codings: Codings) -> None:
        self.turns = asyncio.Semaphore(os.cpu_count() or 1)
        self.encodings = 0
        """How often a chunk was really coded against a base; what was found made does not count."""
        self._stock = stock
        self._contents = contents
        self._codings = codings
        self._pairs = Pairs(contents)
        self._log = Log()
        self._lock = threading.Lock()
        self._flights: dict[Digest, Future[Record | None]] = {}

    def encode(
        self,
        manifest: Digest,
        ordinals: Sequence[int],
        named: Sequence[Digest],
        codecs: frozenset[Codec],
        profile: Profile,
    ) -> list[Encoded]:
        """Chunks of a manifest's content for a peer that decodes `codecs`, in the order asked for.

        `named` are the manifests that the peer holds whole and may have chunks coded against, the likeliest first;
        those that are not here are passed over. Raises NotFoundError, BadInputError and its kind; DamageError,
        DiskError, RoadError when the chunks themselves can't be read.
        """
        began = time.thread_time()
        table = self._stock.table(self._stock.ref(manifest), Part.CONTENT)
        check_ordinals(table, ordinals)
        resting = self._stock.read([table.digest(ordinal) for ordinal in ordinals])
        plainly = [
            as_it_rests(ordinal, place, payload, codecs)
            for ordinal, (place, payload) in zip(ordinals, resting, strict=True)
        ]
        coded: dict[int, Encoded] = {}
        if is_coding(named, codecs, profile):
            rests = {encoded.ordinal: (encoded, *each) for encoded, each in zip(plainly, resting, strict=True)}
            coded = self._coded(manifest, rests, named, _Way(codecs, profile))
        cpu = (time.thread_time() - began) / max(1, len(ordinals))
        return [replace(coded.get(encoded.ordinal, encoded), cpu=cpu) for encoded in plainly]

    def foresee(
        self,
        manifest: Digest,
        ordinals: Sequence[int],
        named: Sequence[Digest],
        codecs: frozenset[Codec],
        profile: Profile,
    ) -> list[Foreseen]:
        """What `encode` will come to, for those of the chunks for which rows tell it: nothing is read or coded here.

        A first look at these bases reads samples of them. Raises as `encode`.
        """
        table = self._stock.table(self._stock.ref(manifest), Part.CONTENT)
        check_ordinals(table, ordinals)
        places = self._stock.places([table.digest(ordinal) for ordinal in ordinals])
        here = ((ordinal, places.get(table.digest(ordinal))) for ordinal in ordinals)
        rests = {ordinal: place for ordinal, place in here if place is not None and place.codec in codecs}
        likes: Mapping[int, Resemblance] = {}
        if is_coding(named, codecs, profile):
            worth = [ordinal for ordinal, place in rests.items() if place.length > SMALL]
            target = self._target(manifest)
            likes = self._pairs.resembling(target, named, worth) if target is not None else {}
        found = [Foreseen(ordinal, place.length) for ordinal, place in rests.items() if ordinal not in likes]
        return found + self._kept(rests, likes, _Way(codecs, profile))

    def _kept(self, rests: Mapping[int, Place], likes: Mapping[int, Resemblance], way: _Way) -> list[Foreseen]:
        """Those of the chunks that resemble something and whose codings are kept."""
        ways = [replace(way, profile=Profile.SMALLEST), way] if way.profile is Profile.FAST else [way]
        keys = {ordinal: [_key(rests[ordinal].digest, like, one) for one in ways] for ordinal, like in likes.items()}
        sizes = self._codings.sizes([key for several in keys.values() for key in several])
        found: list[Foreseen] = []
        for ordinal, like in likes.items():
            codec, size = next((sizes[key] for key in keys[ordinal] if key in sizes), (None, 0))
            if codec is None:
                continue
            resting = rests[ordinal].length
            if not _pays(codec, size, like, resting):
                found.append(Foreseen(ordinal, resting))
            elif codec in NEEDS_BASE:
                found.append(Foreseen(ordinal, size, like.base.name, len(like.runs)))
            else:
                found.append(Foreseen(ordinal, size))
        return found

    def _target(self, manifest: Digest) -> Content | None:
        """What is given; None when it can't be read, and then it goes as it rests."""
        try:
            return self._contents.named(manifest)
        except ModelsyncError as error:
            self._pairs.complain(manifest, error)
            return None

    def _coded(
        self,
        manifest: Digest,
        rests: Mapping[int, tuple[Encoded, Place, Buffer]],
        named: Sequence[Digest],
        way: _Way,
    ) -> dict[int, Encoded]:
        """Those of the chunks that are smaller when they are coded."""
        worth = [ordinal for ordinal, (plainly, _, _) in rests.items() if len(plainly.payload) > SMALL]
        target = self._target(manifest)
        if target is None:
            return {}
        likes = self._pairs.resembling(target, named, worth)
        jobs = [_Job(ordinal, *rests[ordinal], like) for ordinal, like in likes.items()]
        codings = self._codings_of(jobs, target, way)
        return {job.ordinal: given for job, coding in codings if (given := _given(job, coding)) is not None}

    def _codings_of(self, jobs: Sequence[_Job], target: Content, way: _Way) -> list[tuple[_Job, Record]]:
        """The jobs with their codings: kept ones, new ones, and those that another thread makes right now."""
        keys = {job.ordinal: _key(job.place.digest, job.like, way) for job in jobs}
        kept: Mapping[Digest, Record] = {}
        if way.profile is Profile.FAST:  # a smaller coding that was made for somebody else costs nothing now
            smallest = replace(way, profile=Profile.SMALLEST)
            smaller = {job.ordinal: _key(job.place.digest, job.like, smallest) for job in jobs}
            kept = self._codings.find(smaller.values())
            keys.update((ordinal, key) for ordinal, key in smaller.items() if key in kept)
        mine, flights = self._board([keys[job.ordinal] for job in jobs])
        try:
            made = {key: kept[key] for key in mine if key in kept}
            made.update(self._codings.find(mine - made.keys()))
            lacking = {keys[job.ordinal]: job for job in jobs if keys[job.ordinal] in mine - made.keys()}
            fresh = self._make(lacking, target, way)
            self._codings.keep(list(fresh.values()))
            made.update(fresh)
        except BaseException:
            self._land(mine, {})
            raise
        self._land(mine, made)
        found: list[tuple[_Job, Record]] = []
        for job in jobs:
            coding = _arrived(flights[keys[job.ordinal]])
            if coding is not None:
                found.append((job, coding))
        return found

    def _board(self, keys: Sequence[Digest]) -> tuple[set[Digest], dict[Digest, Future[Record | None]]]:
        """The keys that nobody works on, which are ours from now on, and who brings each of them."""
        mine: set[Digest] = set()
        with self._lock:
            for key in keys:
                if key not in self._flights:
                    self._flights[key] = Future()
                    mine.add(key)
            return mine, {key: self._flights[key] for key in keys}

    def _land(self, mine: set[Digest], made: Mapping[Digest, Record]) -> None:
        """Lets go of our keys; whoever waits for one has what we made, or knows that we could not."""
        with self._lock:
            landed = {key: self._flights.pop(key) for key in mine}
        for key, flight in landed.items():
            flight.set_result(made.get(key))

    def _make(self, lacking: Mapping[Digest, _Job], target: Content, way: _Way) -> dict[Digest, Record]:
        """Codings for these jobs; one whose base can't be read is left out."""
        for content in {job.like.base.name: job.like.base for job in lacking.values()}.values():
            content.warm(run for job in lacking.values() if job.like.base is content for run in job.like.runs)
        made: dict[Digest, Record] = {}
        for key, job in lacking.items():
            place = job.place
            try:
                base = job.like.base.gather(job.like.runs, place.plain_size)
                plain = decode(place.codec, job.resting, place.plain_size)
            except ModelsyncError as error:
                self._pairs.complain(job.like.base.name, error)
                continue
            try:
                codec, payload = encode(plain, way.codecs, target.hints.of(job.ordinal), base, way.profile)
            except STUMBLES as error:  # logged with a trace: it must not keep a version from a whole fleet
                self._log.failure("coding.failed", error, manifest=target.name, ordinal=job.ordinal)
                continue
            with self._lock:
                self.encodings += 1
            smaller = codec is not Codec.STORED and len(payload) < len(job.plainly.payload)
            made[key] = replace(_NO_GAIN, digest=key)
            if smaller:
                made[key] = Record(key, codec, payload, place.plain_size)
        return made


def as_it_rests(ordinal: int, place: Place, resting: Buffer, codecs: frozenset[Codec]) -> Encoded:
    """A chunk for a peer with nothing to code it against: encoded anew only if it can't decode what rests."""
    if place.codec in codecs:
        return Encoded(ordinal, place.codec, _view(resting))
    codec, payload = encode(decode(place.codec, resting, place.plain_size), codecs)
    return Encoded(ordinal, codec, _view(payload))


def is_coding(named: Sequence[Digest], codecs: frozenset[Codec], profile: Profile) -> bool:
    """Whether chunks are coded at all for whoever names these bases."""
    return bool(named) and profile is not Profile.PLAIN and bool(codecs & NEEDS_BASE)


def _given(job: _Job, coding: Record) -> Encoded | None:
    """The chunk as coded, unless it is smaller as it rests."""
    if not _pays(coding.codec, len(coding.payload), job.like, len(job.plainly.payload)):
        return None
    base = Base(job.like.base.name, tuple(job.like.runs)) if coding.codec in NEEDS_BASE else None
    return Encoded(job.ordinal, coding.codec, _view(coding.payload), base)


def _pays(codec: Codec, size: int, like: Resemblance, resting: int) -> bool:
    """Whether a coding, with the words about its base, is smaller than the chunk as it rests."""
    words = _BASE_WORDS + _RUN_WORDS * len(like.runs) if codec in NEEDS_BASE else 0
    return codec is not Codec.STORED and size + words < resting


def _arrived(flight: Future[Record | None]) -> Record | None:
    try:
        return flight.result(PATIENCE)
    except TimeoutError:
        return None  # it goes as it rests


def _key(chunk: Digest, like: Resemblance, way: _Way) -> Digest:
    """The name of a coding: what is coded, against what, for whom, and how."""
    how = bytes([CODING_FORMAT, way.profile, len(way.codecs), *sorted(way.codecs)])
    runs = b"".join(map(_packed, like.runs))
    return digest_of(b"modelsyncd coding" + how + chunk + like.base.name + runs)


def _packed(run: Run) -> bytes:
    turned = run.turned
    turn = (False, 0, 0, 0, 0) if turned is None else (True, turned.rows, turned.columns, turned.width, turned.first)
    return _RUN.pack(run.file, run.offset, run.size, *turn)


def _view(payload: Buffer) -> bytes | memoryview:
    return payload if isinstance(payload, bytes) else memoryview(payload)
