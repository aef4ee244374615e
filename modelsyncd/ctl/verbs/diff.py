"""`modelsyncctl diff`: what changes from one release to another: files, chunks, tensors."""

from __future__ import annotations

import click

from modelsyncd.ctl import shape, tensors
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.difference import Difference, difference
from modelsyncd.ctl.figures import count, share, size
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.ctl.progress import Step, meter
from modelsyncd.ctl.screen import painted
from modelsyncd.exchange import manifests
from modelsyncd.manifest import Manifest
from modelsyncd.names import ModelRef, parse_ref
from modelsyncd.wire.v1 import catalog_pb2 as pb

Names = tuple[str | None, str | None]
_RELEASE = "MODEL[@CHANNEL|:NUMBER]"
_NO_TENSORS = tensors.describe(tensors.Tensors(()))
_SIGNS = (("added", "+", "green"), ("removed", "-", "red"), ("changed", "~", "yellow"))


@click.command("diff")
@click.argument("before", metavar=_RELEASE)
@click.argument("after", metavar=_RELEASE)
@click.option("--variant", metavar="NAME", help="Which variant of both; by default the usual one.")
@click.option("--with", "other", metavar="NAME", help="Which variant of the second, if it is another.")
@click.option("--norms", is_flag=True, help="Have the hub read both, and say how much each tensor changed.")
@click.option("--all", "everything", is_flag=True, help="Show every tensor, not only those that changed most.")
@asked
def command(
    asked: Asked,
    *,
    before: str,
    after: str,
    variant: str | None,
    other: str | None,
    norms: bool,
    everything: bool,
) -> None:
    """Compare two releases: files, chunks, tensors, bytes that would travel.

    The bytes are those that a node with only the first one would fetch for the second, before compression and coding:
    `modelsyncctl plan` says what really travels.
    """
    names = (variant, other or variant)
    asked.run(_diff(asked, (parse_ref(before), parse_ref(after)), names, norms=norms, everything=everything))


async def _diff(asked: Asked, refs: tuple[ModelRef, ModelRef], names: Names, *, norms: bool, everything: bool) -> None:
    async with connect(asked) as hub:
        old, new = [await hub.release(str(ref)) for ref in refs]
        first, second = await _manifest(hub, old, names[0]), await _manifest(hub, new, names[1])
        found = difference(first, second)
        known = any(file.tensors for file in (*first.files, *second.files))
        changes = await _tensors(asked, hub, (old, new), names, norms=norms) if known else None
    document = describe(old, new, found) | (tensors.describe(changes) if changes else _NO_TENSORS)
    told = text(old, new, found)
    asked.answer(document, f"{told}\n{tensors.text(changes, everything=everything)}" if changes else told)


async def _tensors(
    asked: Asked, hub: Hub, views: tuple[pb.ReleaseView, pb.ReleaseView], names: Names, *, norms: bool
) -> tensors.Tensors:
    """What became of the tensors; asked for by number, so that a channel that moves meanwhile changes nothing."""
    before, after = (f"{view.model}:{view.number}" for view in views)
    request = pb.DiffRequest(before=before, after=after, norms=norms, variant=names[0] or "", other=names[1] or "")
    found: list[pb.TensorChange] = []
    done = False
    with meter("comparing", silent=asked.json) as shown:
        async for step in hub.listen(hub.catalog.Diff, request):
            found += step.tensors
            done = step.done
            shown.show(Step(step.bytes_total, step.bytes))
    if not done:
        raise hub.ended("the hub stopped before it had compared every tensor")
    return tensors.Tensors(found)


async def _manifest(hub: Hub, view: pb.ReleaseView, name: str | None) -> Manifest:
    variant = manifests.variant_of(shape.opened(view), name) if name else manifests.first_variant(view)
    return await manifests.fetch(hub, view, variant)


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
        lines += [painted(f"{sign} {path}", colour) for path in paths[kind]]
    lines.append(f"{count(len(found.same), 'file')} the same.")
    lines.append(
        f"{found.chunks_shared:,} of {count(found.chunks, 'chunk')} shared;"
        f" {size(found.travel_bytes)} would travel ({share(found.travel_bytes, found.total_bytes)} of"
        f" {size(found.total_bytes)}), before compression."
    )
    return "\n".join(lines)
