"""`modelsyncctl diff`: what changes from one release to another, and what it would cost to send."""

from __future__ import annotations

import click

from modelsyncd.ctl import manifests, shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.difference import Difference, difference
from modelsyncd.ctl.figures import count, plain, share, size
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.manifest import Manifest
from modelsyncd.names import ModelRef, parse_ref
from modelsyncd.wire.v1 import catalog_pb2 as pb

_RELEASE = "MODEL[@CHANNEL|:NUMBER]"
_SIGNS = (("added", "+", "green"), ("removed", "-", "red"), ("changed", "~", "yellow"))


@click.command("diff")
@click.argument("before", metavar=_RELEASE)
@click.argument("after", metavar=_RELEASE)
@asked
def command(asked: Asked, before: str, after: str) -> None:
    """Compare two releases: files, chunks, bytes that would travel.

    The bytes are those that a node with only the first one would fetch for the second, before compression.
    """
    asked.run(_diff(asked, parse_ref(before), parse_ref(after)))


async def _diff(asked: Asked, before: ModelRef, after: ModelRef) -> None:
    async with connect(asked) as hub:
        old, new = await hub.release(str(before)), await hub.release(str(after))
        found = difference(await _manifest(hub, old), await _manifest(hub, new))
    asked.answer(describe(old, new, found), text(old, new, found))


async def _manifest(hub: Hub, view: pb.ReleaseView) -> Manifest:
    return await manifests.fetch(hub, view, manifests.first_variant(view))


def describe(old: pb.ReleaseView, new: pb.ReleaseView, found: Difference) -> dict[str, object]:
    """For programs."""
    return {
        "before": f"{old.model}:{old.number}",
        "after": f"{new.model}:{new.number}",
        "files": {
            "added": list(found.added),
            "removed": list(found.removed),
            "changed": list(found.changed),
            "same": list(found.same),
        },
        "chunks": found.chunks,
        "chunks_shared": found.chunks_shared,
        "bytes": found.total_bytes,
        "travel_chunks": found.travel_chunks,
        "travel_bytes": found.travel_bytes,
        "labels": {"before": shape.release(old)["labels"], "after": shape.release(new)["labels"]},
    }


def text(old: pb.ReleaseView, new: pb.ReleaseView, found: Difference) -> str:
    """For people."""
    lines = [f"{old.model}:{old.number} → {new.model}:{new.number}"]
    paths = {"added": found.added, "removed": found.removed, "changed": found.changed}
    for kind, sign, colour in _SIGNS:
        lines += [click.style(f"{sign} {plain(path)}", fg=colour) for path in paths[kind]]
    lines.append(f"{count(len(found.same), 'file')} the same.")
    lines.append(
        f"{found.chunks_shared:,} of {count(found.chunks, 'chunk')} shared;"
        f" {size(found.travel_bytes)} would travel ({share(found.travel_bytes, found.total_bytes)} of"
        f" {size(found.total_bytes)}), before compression."
    )
    return "\n".join(lines)
