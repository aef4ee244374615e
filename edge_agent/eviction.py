"""The only place that decides what goes from a node so that a transfer fits: room and needs in, victims out.

Laws: never more goes than is needed; what was used longest ago goes first; what is kept (active, previous, wanted,
pinned, leased, lent) never goes; and when that does not suffice nothing goes at all, and the transfer is refused before
its first byte. It touches nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_agent.quota import Room
from modelsyncd.digest import Digest
from modelsyncd.errors import DiskFullError
from modelsyncd.store.version import Version

NAMED = 8  # versions that a refusal names


@dataclass(frozen=True, slots=True)
class Eviction:
    """What goes first, and how many bytes are missing even then; nothing goes when `short` is not 0."""

    leftovers: tuple[Digest, ...] = ()
    """Of what is staged and nobody waits for."""
    versions: tuple[Version, ...] = ()
    freed: int = 0
    short: int = 0


def evict(missing: int, room: Room, spare: Iterable[Version], leftovers: Iterable[Digest]) -> Eviction:
    """What has to go so that `missing` bytes come free. `spare` and `leftovers` may go, and nothing else does.

    Halves of versions go before whole ones; among these, one that has no time of use counts as never used.
    """
    halves: list[Digest] = []
    victims: list[Version] = []
    freed = 0
    for manifest in sorted(leftovers, key=lambda one: (room.staged.get(one, 0), one), reverse=True):
        if freed >= missing:
            break
        if room.staged.get(manifest, 0):
            halves.append(manifest)
            freed += room.staged[manifest]
    for version in sorted(spare, key=lambda one: (room.last_used.get(one, 0.0), one.number, one)):
        if freed >= missing:
            break
        if room.versions.get(version, 0):
            victims.append(version)
            freed += room.versions[version]
    if freed < missing:
        return Eviction(short=missing - freed)
    halves, victims = _pared(missing, freed, room, halves, victims)
    return Eviction(
        tuple(halves),
        tuple(victims),
        sum(room.staged[one] for one in halves) + sum(room.versions[one] for one in victims),
    )


def _pared(
    missing: int, freed: int, room: Room, halves: list[Digest], victims: list[Version]
) -> tuple[list[Digest], list[Version]]:
    """Spares again what a later and larger one made needless, the last used first."""
    for version in reversed(list(victims)):
        if freed - room.versions[version] >= missing:
            victims.remove(version)
            freed -= room.versions[version]
    for manifest in reversed(list(halves)):
        if freed - room.staged[manifest] >= missing:
            halves.remove(manifest)
            freed -= room.staged[manifest]
    return halves, victims


def refusal(
    what: str, need: int, *, room: Room, left: int, quota: int, reasons: Mapping[Version, str]
) -> DiskFullError:
    """The error for a transfer that can't be made to fit. `reasons` says why versions stay; others would have gone."""
    short = need - left
    holders = sorted(reasons.keys() & room.versions.keys(), key=lambda one: (-room.versions[one], one))
    named = [f"{_name(one)} {room.versions[one]} ({reasons[one]})" for one in holders[:NAMED]]
    more = f" and {len(holders) - NAMED} more" if len(holders) > NAMED else ""
    held = f"; what stays: {', '.join(named)}{more}" if named else ""
    limit = min((limit for limit in (room.quota, quota) if limit), default=0)
    if limit and limit - room.used < room.free:
        return DiskFullError(
            f"{need} bytes are needed for {what}, and the quota of {limit} leaves {max(0, left)} free{held}",
            safe="nothing was written or removed; what is active stays",
            hint=f"raise the quota by {short} bytes, or unpin or unassign something: it is tried again by itself",
        )
    return DiskFullError(
        f"{need} bytes are needed for {what}, and the disk has {max(0, left)} free{held}",
        safe="nothing was written or removed; what is active stays",
        hint=f"free {short} bytes on that file system, or unpin or unassign something: it is tried again by itself",
    )


def _name(version: Version) -> str:
    return f"{version.model}:{version.number}"
