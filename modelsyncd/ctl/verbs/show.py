"""`modelsyncctl show`: one release with its files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import click

from modelsyncd.ctl import about, numbers, shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import count, moment, pairs, size
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.table import Column, fields, table
from modelsyncd.ctl.variants import side_by_side
from modelsyncd.digest import digest_of, to_text
from modelsyncd.errors import NotFoundError
from modelsyncd.escapes import harmless
from modelsyncd.exchange import manifests
from modelsyncd.manifest import File, Manifest
from modelsyncd.names import ModelRef, parse_ref
from modelsyncd.release import Release
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import records_pb2, search_pb2

_COLUMNS = (
    Column("FILE"),
    Column("SIZE", right=True),
    Column("CHUNKS", right=True),
    Column("FORMAT"),
    Column("TENSORS", right=True),
    Column("SHA-256"),
)


@click.command("show")
@click.argument("release", metavar="MODEL[@CHANNEL|:NUMBER]")
@click.option("--card", is_flag=True, help="The whole model card, and nothing else.")
@asked
def command(asked: Asked, release: str, *, card: bool) -> None:
    """Show one release: files, tensors, labels, metrics, channels.

    Without a channel or number it is the newest.
    """
    asked.run(_card(asked, parse_ref(release)) if card else _show(asked, parse_ref(release)))


async def _card(asked: Asked, ref: ModelRef) -> None:
    async with connect(asked) as hub:
        told = await about.described(hub, str(ref))
    if not told.HasField("card"):
        raise NotFoundError(
            f"{told.model}:{told.number} has no model card", hint="a card is a README.md at the top of its files"
        )
    asked.answer({"card": about.card(told)}, harmless(told.card.text))


async def _show(asked: Asked, ref: ModelRef) -> None:
    async with connect(asked) as hub:
        view = await hub.release(str(ref))
        told = await about.described(hub, f"{view.model}:{view.number}")
        recorded = await numbers.newest(hub, f"{view.model}:{view.number}")
        manifest = await manifests.fetch(hub, view, manifests.first_variant(view))
    document = (
        shape.release(view)
        | about.describe(told)
        | {
            "contents": [_file(file) for file in manifest.files],
            "recorded": [numbers.describe(one) for one in recorded],
        }
    )
    asked.answer(document, text(view, told, manifest, recorded, time.time()))


def _file(file: File) -> dict[str, object]:
    return {
        "path": file.path,
        "bytes": file.size,
        "sha256": file.sha256.hex(),
        "executable": file.executable,
        "chunks": len(file.chunk_sizes),
        "format": file.format or None,
        "tensors": len(file.tensors),
        "dtypes": sorted({tensor.dtype for tensor in file.tensors}),
    }


def text(
    view: pb.ReleaseView,
    told: search_pb2.DescribeResponse,
    manifest: Manifest,
    recorded: Sequence[records_pb2.Number],
    now: float,
) -> str:
    """For people."""
    variants = side_by_side(shape.opened(view), recorded)
    parts = [
        fields([*_head(view, shape.opened(view), now), *about.lines(told)]),
        *([variants] if variants else []),
        table(_COLUMNS, [_row(file) for file in manifest.files]),
        *([f"Recorded since, the newest of each:\n{numbers.text(recorded, now)}"] if recorded else []),
    ]
    return "\n\n".join(parts)


def _head(view: pb.ReleaseView, inner: Release, now: float) -> list[tuple[str, str]]:
    lines = [
        ("release", f"{view.model}:{view.number}"),
        ("channels", ", ".join(view.channels) or "none"),
        ("committed", moment(view.committed_at, now)),
        ("by", inner.producer or "-"),
        ("labels", pairs(inner.labels)),
        ("metrics", _metrics(inner.metrics)),
    ]
    if inner.note:
        lines.append(("note", inner.note))
    lines += [(f"parent ({parent.role})", f"{parent.model}:{parent.number}") for parent in inner.parents]
    lines += [(f"member {member.place}", f"{member.model}:{member.number}") for member in inner.members]
    for variant in inner.variants:
        content = f"{count(variant.manifest.files, 'file')}, {size(variant.manifest.content_size)}"
        where = f", for {pairs(variant.selector)}" if variant.selector else ""
        lines.append((f"variant {variant.name}", f"{content}, manifest {to_text(variant.manifest.digest)}{where}"))
    return [*lines, ("digest", to_text(digest_of(view.signed.release)))]


def _metrics(metrics: Mapping[str, float]) -> str:
    return " ".join(f"{key}={value:g}" for key, value in sorted(metrics.items())) or "-"


def _row(file: File) -> list[str]:
    return [
        file.path,
        size(file.size),
        f"{len(file.chunk_sizes):,}",
        file.format or "-",
        f"{len(file.tensors):,}" if file.tensors else "-",
        file.sha256.hex()[:16] + "…",
    ]
