"""What must hold of a hub beside a gc, said without the code that it judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloud_hub import sweep
from cloud_hub.tables import PieceTable
from modelsyncd.codec.registry import decode
from modelsyncd.digest import Digest, digest_of
from modelsyncd.names import parse_model
from modelsyncd.release import ManifestRef
from modelsyncd.session.frames import Part
from modelsyncd.wire.nouns import decode_release
from tests.fakes.gc_hub import GcHub

READING = 3_600.0  # seconds after the last look of a reader

Name = tuple[str, int]


@dataclass
class Holding:
    """What people, nodes and jobs hold, as they did it themselves."""

    reports: dict[str, set[Name]] = field(default_factory=dict)
    reads: dict[Name, float] = field(default_factory=dict)
    pins: set[Name] = field(default_factory=set)


@dataclass(frozen=True)
class Seen:
    """Releases that are there, with what each came from, the members of bundles, and what holds some of them."""

    sources: Mapping[Name, frozenset[Name]]
    members: Mapping[Name, frozenset[Name]]
    held: Mapping[Name, str]


def seen(hub: GcHub, holding: Holding) -> Seen:
    """How it is now."""
    sources: dict[Name, frozenset[Name]] = {}
    members: dict[Name, frozenset[Name]] = {}
    held: dict[Name, str] = {}
    for row in hub.catalog.models.list():
        history = hub.catalog.models.history(row.model).releases
        name = str(row.model)
        for each in history:
            release = decode_release(each.signed.release)
            parents = {(str(one.model), one.number) for one in release.parents}
            members[name, each.number] = frozenset((str(one.model), one.number) for one in release.members)
            sources[name, each.number] = members[name, each.number] | parents
        held[name, max(each.number for each in history)] = "it is the newest"
        held.update(((name, channel.number), f"{channel.name} names it") for channel in row.channels)
    for node, names in holding.reports.items():
        held.update((name, f"{node} said that it has it") for name in names)
    held.update((name, "it is read") for name, at in holding.reads.items() if hub.wall - at < READING)
    held.update((name, "it is pinned") for name in holding.pins)
    return Seen(sources, members, held)


def check_gone(before: Seen, now: Seen) -> None:
    """What went between the two was held by nothing, nothing that is there came from it, and bundles are complete."""
    gone = before.sources.keys() - now.sources.keys()
    for name in gone:
        assert name not in before.held, f"{name} went though {before.held[name]}"
    for child, sources in now.sources.items():
        lost = gone & sources
        assert not lost, f"{lost} went though {child} came from it"
    for bundle, members in now.members.items():
        lacking = members - now.sources.keys()
        assert not lacking, f"{bundle} is there without {lacking}"


def refs(hub: GcHub) -> Iterator[ManifestRef]:
    """The manifests of all releases."""
    for model in hub.catalog.models.list():
        for row in hub.catalog.models.history(parse_model(str(model.model))).releases:
            yield from (variant.manifest for variant in row.variants)


def check_whole(hub: GcHub) -> None:
    """Whatever a release needs is here, and right."""
    for ref in refs(hub):
        assert _is_here(hub, ref), f"manifest {ref.digest.hex()[:12]} or its content is not here"


def check_clean(hub: GcHub) -> None:
    """Nothing rests that nothing needs; to be asked after a gc that nothing disturbed."""
    needed = {digest for ref in refs(hub) for digest in _needed(hub, ref)}
    known = {place.digest for place in hub.places()}
    assert known == needed
    hub.writer.seal()
    used, there = hub.catalog.packs.used(), {Path(blob.key).stem for blob in hub.blobs.list()}
    assert there == set(used), "a pack rests that nothing needs"


def _needed(hub: GcHub, ref: ManifestRef) -> list[Digest]:
    return [*sweep._digests(PieceTable(ref)), *sweep._digests(hub.stock.table(ref, Part.CONTENT))]


def _is_here(hub: GcHub, ref: ManifestRef) -> bool:
    pieces = set(sweep._digests(PieceTable(ref)))
    if len(hub.catalog.chunks.places(pieces)) < len(pieces):
        return False
    needed = _needed(hub, ref)
    places = hub.catalog.chunks.places(needed)
    rests = {place.digest: hub.reader.read(place) for place in places.values()}
    return set(needed) == rests.keys() and all(
        digest_of(decode(places[name].codec, payload, places[name].plain_size)) == name
        for name, payload in rests.items()
    )
