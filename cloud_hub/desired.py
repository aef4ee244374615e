"""The only place that says what a node should hold, from what the catalogue knows: pure, one value in, one out."""

from __future__ import annotations

from collections.abc import Mapping

from cloud_hub.catalog import DesiredRows, Followed, ReleaseRow
from modelsyncd.fitting import best_variant, misfits
from modelsyncd.session.frames import Assignment, Desired, Facts, Offer, Unfit

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
        rows.labels,
    )


def _assignment(follows: Followed, rows: DesiredRows) -> Assignment:
    offered = offer(follows.release, rows.labels, rows.facts)
    consented = offered is not None and (follows.model, offered.manifest) in rows.bounds.consents
    return Assignment(
        follows.model,
        follows.channel,
        offered,
        follows.priority,
        rows.bounds.of(follows.model, follows.channel),
        offered.manifest if offered is not None and consented else None,
        rows.bounds.retries.get((follows.model, follows.channel), 0),
        None if offered is not None else unfit(follows.release, rows.labels, rows.facts),
    )


def offer(release: ReleaseRow | None, labels: Mapping[str, str], facts: Facts) -> Offer | None:
    """The form of a release that fits a node; None when there is no release or no form of it fits."""
    variant = None if release is None else best_variant(release.variants, labels, facts)
    if release is None or variant is None:
        return None
    return Offer(release.signed, variant.manifest.digest)


def unfit(release: ReleaseRow | None, labels: Mapping[str, str], facts: Facts) -> Unfit | None:
    """What keeps each form of a release from a node that none fits; None when there is no release."""
    if release is None:
        return None
    why = [f"{variant.name}: {', '.join(misfits(variant.selector, labels, facts))}" for variant in release.variants]
    return Unfit(release.number, tuple(why))
