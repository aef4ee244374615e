"""The only place that shows a release's variants side by side: whom each is for, how large it is, how good it is."""

from __future__ import annotations

from collections.abc import Sequence

from modelsyncd.ctl.figures import count, pairs, share, size
from modelsyncd.ctl.numbers import value
from modelsyncd.ctl.table import Column, table
from modelsyncd.release import Release, Variant
from modelsyncd.wire.v1 import records_pb2 as pb

NUMBERS = 6  # names of numbers that have a column


def side_by_side(release: Release, recorded: Sequence[pb.Number]) -> str:
    """A row for each variant; nothing when there is one only.

    `recorded` are the newest numbers about the release: those about a variant are its own, and others are none's.
    """
    if len(release.variants) < 2:
        return ""
    known = {(one.variant, one.name): one.value for one in recorded if one.variant}
    names = sorted({name for _, name in known})[:NUMBERS]
    columns = (
        Column("VARIANT"),
        Column("FOR"),
        Column("SIZE", right=True),
        Column("OF THE LARGEST", right=True),
        Column("FILES", right=True),
        *(Column(name.upper(), right=True) for name in names),
    )
    largest = max(variant.manifest.content_size for variant in release.variants)
    return table(
        columns,
        [_row(variant, largest, [known.get((variant.name, name)) for name in names]) for variant in release.variants],
    )


def _row(variant: Variant, largest: int, values: Sequence[float | None]) -> list[str]:
    return [
        variant.name,
        pairs(variant.selector) if variant.selector else "every other node",
        size(variant.manifest.content_size),
        share(variant.manifest.content_size, largest),
        count(variant.manifest.files, "file"),
        *("-" if one is None else value(one) for one in values),
    ]
