"""What a gc costs as releases become many, and how long a push waits beside it; releases are made, the gc is real."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert

from benchmarks.table import show
from cloud_hub.catalog import By, Catalog, schema
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.retentions import RetentionRow
from cloud_hub.collector import Collector
from cloud_hub.stock import Stock
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.link.malloc import trim
from modelsyncd.manifest import File, Manifest, piece_digests, pieces
from modelsyncd.names import parse_model
from modelsyncd.release import ManifestRef, Release, SignedRelease, Variant
from modelsyncd.store.blobs import Blobs, open_blobs
from modelsyncd.store.packs import PackReader, PackWriter, Record
from modelsyncd.wire.nouns import encode_manifest, encode_release

EACH = 10  # releases of one model
KEPT = 5  # of them, by the rule
CHUNKS = 8  # of one release; it has all but one of them from the release before
SIZE = 2_048  # bytes of a chunk that no codec makes smaller
BATCH = 2_000  # releases that are laid down at once
ALONE = 50  # pushes that are timed without a gc
NOW = 1.8e9


@dataclass(frozen=True, slots=True)
class _Made:
    """A release as it is laid down."""

    model: str
    release: Release
    raw: bytes
    records: Sequence[Record]


@dataclass(slots=True)
class _Hub:
    """What a gc works on."""

    catalog: Catalog
    stock: Stock
    blobs: Blobs
    writer: PackWriter

    def close(self) -> None:
        self.writer.close()
        self.blobs.close()
        self.catalog.close()


def run(root: Path, counts: Sequence[int]) -> None:
    """Prints two tables against the number of releases."""
    costs, waits = [], []
    for count in counts:
        folder = root / str(count)
        folder.mkdir()
        hub = _filled(folder, count)
        alone = [_push(hub, number) for number in range(1, ALONE + 1)]
        read = _read_all(hub.blobs)
        dry, _, _ = _collected(hub, dry=True)
        took, grown, beside = _collected(hub, dry=False, first=ALONE + 1)
        again, _, _ = _collected(hub, dry=False)
        hub.close()
        costs.append((f"{count:,}", dry, took, took / count * 1e3, again, read, grown))
        waits.append((f"{count:,}", len(beside), *_spread(alone), *_spread(beside)))
    show(
        f"A gc that lets go {EACH - KEPT} of {EACH} releases of each model, s",
        ("releases", "dry run", "gc", "ms per release", "gc again", "reading all packs", "memory, MB"),
        costs,
    )
    show(
        "A push, without its bytes' way, ms",
        ("releases", "pushes beside", "alone: p50", "p99", "longest", "beside a gc: p50", "p99", "longest"),
        waits,
    )


def _collected(hub: _Hub, *, dry: bool, first: int = 0) -> tuple[float, float, list[float]]:
    """Seconds of a gc, the megabytes that it took at its peak, and seconds of each push beside it."""
    beside: list[float] = []
    over = threading.Event()

    def pushing() -> None:
        number = first
        while first and not over.is_set():
            beside.append(_push(hub, number))
            number += 1

    before = _begin_peak()
    other = threading.Thread(target=pushing)
    other.start()
    began = time.perf_counter()
    for _ in Collector(hub.catalog, hub.stock, hub.blobs, clock=lambda: NOW).run("admin/ann", dry=dry, grace=0.0):
        pass
    took = time.perf_counter() - began
    over.set()
    other.join()
    return took, _memory("VmHWM") - before, beside


def _push(hub: _Hub, number: int) -> float:
    """Seconds that it takes to lay down and commit one release."""
    rng = random.Random(-number)
    (made,) = _releases("bench/pushed", [number], rng)
    began = time.perf_counter()
    hub.stock.underway.enter([variant.manifest for variant in made.release.variants])
    hub.stock.keep(made.records)
    signed = SignedRelease(made.raw, ())
    hub.catalog.models.commit(signed, made.release, digest_of(made.raw), channel="stable", who="admin/ann", now=NOW)
    return time.perf_counter() - began


def _spread(took: Sequence[float]) -> tuple[float, float, float]:
    """Milliseconds: the middle one, what one in a hundred reaches, the longest."""
    ordered = sorted(took)
    return statistics.median(took) * 1e3, ordered[len(ordered) * 99 // 100] * 1e3, ordered[-1] * 1e3


def _read_all(blobs: Blobs) -> float:
    began = time.perf_counter()
    for blob in blobs.list():
        for start in range(0, blob.size, 16 << 20):
            blobs.read(blob.key, start, min(16 << 20, blob.size - start))
    return time.perf_counter() - began


# --- memory ---


def _begin_peak() -> float:
    """Megabytes resident now, without what is free again.

    What VmHWM says begins anew (Linux: Documentation/filesystems/proc.rst).
    """
    trim()
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(what: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1e3
    raise ValueError(f"/proc/self/status has no {what}")


# --- filling ---


def _filled(folder: Path, count: int) -> _Hub:
    """A hub with so many releases, laid down in bulk; by pushes it would take hours."""
    url = f"sqlite:///{folder}/catalog.db"
    Catalog.open(url).close()
    blobs = open_blobs(f"file://{folder}/packs")
    writer = PackWriter(folder / "spool", blobs)
    hub = _Hub(catalog := Catalog.open(url), Stock(catalog, writer, PackReader(folder / "spool", blobs), folder), blobs,
               writer)  # fmt: skip
    rng = random.Random(1)
    database = Database(url)
    for first in range(0, count, BATCH):
        models = range(first // EACH, min(first + BATCH, count) // EACH)
        made = [one for model in models for one in _releases(f"bench/model-{model}", range(1, EACH + 1), rng)]
        hub.stock.keep([record for one in made for record in one.records])
        with database.write() as connection:
            rows = [{"id": m + 1, "name": f"bench/model-{m}", "last_number": EACH, "created_at": NOW} for m in models]
            connection.execute(insert(schema.models), rows)
            ids = range(first + 1, first + 1 + len(made))
            pairs = list(zip(ids, made, strict=True))
            connection.execute(insert(schema.releases), [_release_row(place, one) for place, one in pairs])
            connection.execute(insert(schema.manifests), [_manifest_row(one.release) for one in made])
            connection.execute(insert(schema.variants), [_variant_row(place, one.release) for place, one in pairs])
    database.close()
    writer.seal()
    catalog.retentions.set(RetentionRow("bench/*", KEPT, None, By("admin/ann", NOW)))
    return hub


def _releases(model: str, numbers: Sequence[int], rng: random.Random) -> Iterator[_Made]:
    """One after the other, each with one chunk that the one before does not have."""
    chunks = [rng.randbytes(SIZE) for _ in range(CHUNKS)]
    for place, number in enumerate(numbers):
        chunks = [*chunks[1:], rng.randbytes(SIZE)]
        names = list(map(digest_of, chunks))
        file = File("m.bin", SIZE * CHUNKS, digest_of(b"".join(chunks)), executable=False,
                    chunk_sizes=(SIZE,) * CHUNKS, chunk_digests=b"".join(names))  # fmt: skip
        encoded = encode_manifest(Manifest((file,)))
        ref = ManifestRef(digest_of(encoded), len(encoded), SIZE * CHUNKS, 1, piece_digests(encoded))
        release = Release(parse_model(model), number, (Variant("default", ref),), producer="admin/ann")
        plain = [*(bytes(piece) for piece in pieces(encoded)), *(chunks if place == 0 else chunks[-1:])]
        records = [Record(digest_of(one), Codec.STORED, one, len(one)) for one in plain]
        yield _Made(model, release, encode_release(release), records)


def _release_row(place: int, made: _Made) -> dict[str, object]:
    return {
        "id": place,
        "model_id": (place - 1) // EACH + 1,
        "number": made.release.number,
        "digest": digest_of(made.raw),
        "bytes": made.raw,
        "committed_at": NOW - 1e6 + place,
        "who": "admin/ann",
    }


def _manifest_row(release: Release) -> dict[str, object]:
    ref = release.variants[0].manifest
    return {
        "digest": ref.digest,
        "size": ref.size,
        "content_size": ref.content_size,
        "files": ref.files,
        "chunk_digests": ref.chunk_digests,
    }


def _variant_row(place: int, release: Release) -> dict[str, object]:
    digest = release.variants[0].manifest.digest
    return {"release_id": place, "position": 0, "name": "default", "selector": "{}", "manifest": digest}
