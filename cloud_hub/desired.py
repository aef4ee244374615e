"""The only place that says what a node should hold, from what the catalogue knows: pure, one value in, one out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cloud_hub.catalog import DesiredRows, Followed, ReleaseRow
from modelsyncd.release import Variant
from modelsyncd.session.frames import Assignment, Desired, Offer

KEEP = 2  # versions of each model on a node: the one in use, and the one to go back to


def desired(rows: DesiredRows, keep: int = KEEP) -> Desired:
    """All that a node should hold, and what it may use for that."""
    bounds = rows.bounds
    return Desired(
        rows.revision,
        tuple(_assignment(follows, rows) for follows in rows.followed),
        keep,
        bounds.manners,
        bounds.pins,
        bounds.quota,
    )


def _assignment(follows: Followed, rows: DesiredRows) -> Assignment:
    offered = offer(follows.release, rows.labels)
    consented = offered is not None and (follows.model, offered.manifest) in rows.bounds.consents
    return Assignment(
        follows.model,
        follows.channel,
        offered,
        follows.priority,
        rows.bounds.of(follows.model, follows.channel),
        offered.manifest if offered is not None and consented else None,
        rows.bounds.retries.get((follows.model, follows.channel), 0),
    )


def offer(release: ReleaseRow | None, labels: Mapping[str, str]) -> Offer | None:
    """The form of a release that fits a node; None when there is no release or no form of it fits."""
    variant = None if release is None else choose(release.variants, labels)
    if release is None or variant is None:
        return None
    return Offer(release.signed, variant.manifest.digest)


def choose(variants: Sequence[Variant], labels: Mapping[str, str]) -> Variant | None:
    """The variant whose selector asks for the most, of those that fit; the first of equals."""
    fitting = [variant for variant in variants if variant.selector.items() <= labels.items()]
    return max(fitting, key=lambda variant: len(variant.selector), default=None)
