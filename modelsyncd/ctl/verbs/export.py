"""`modelsyncctl export`: a release as a plain folder with a list of digests, for whoever has nothing of ours."""

from __future__ import annotations

import time
from pathlib import Path

import click

from modelsyncd.ctl import numbers, shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.fetched import fetched
from modelsyncd.ctl.figures import count, size
from modelsyncd.ctl.hub import connect
from modelsyncd.errors import BadInputError, ConflictError
from modelsyncd.exchange import manifests
from modelsyncd.exchange.folder_taker import FolderTaker
from modelsyncd.foreign.sedna import Resource, write
from modelsyncd.manifest import Manifest
from modelsyncd.names import ModelRef, parse_ref
from modelsyncd.store.durable import disk_errors, write_file

SUMS = "SHA256SUMS"


@click.command("export")
@click.argument("release", metavar="MODEL[@CHANNEL|:NUMBER]")
@click.argument("dest", type=click.Path(path_type=Path, file_okay=False))
@click.option("--variant", metavar="NAME", help="Which of the release's variants; by default the usual one.")
@click.option(
    *("--sedna", "sedna"),
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write a Sedna Model resource, with the release's numbers as its status.",
)
@click.option("--url", default="", metavar="URL", help="What the resource says where the model is; default: DEST.")
@click.option("--force", is_flag=True, help="Replace files that differ.")
@asked
def command(
    asked: Asked, *, release: str, dest: Path, variant: str | None, sedna: Path | None, url: str, force: bool
) -> None:
    """Write a release into a plain folder, with a list of SHA-256 digests beside its files.

    `sha256sum -c SHA256SUMS` checks it anywhere. A Sedna Model resource has the numbers that were recorded about the
    release in `status.metrics`.
    """
    if url and sedna is None:
        raise BadInputError("--url is what a Sedna resource says", hint="name its file with --sedna")
    asked.run(
        _export(asked, parse_ref(release), dest, variant, sedna=sedna, url=url or str(dest.absolute()), force=force),
        interrupted="What has arrived is kept beside its place: the same command goes on from it.",
    )


async def _export(
    asked: Asked, ref: ModelRef, dest: Path, name: str | None, *, sedna: Path | None, url: str, force: bool
) -> None:
    async with connect(asked) as hub:
        view = await hub.release(str(ref))
        inner = shape.opened(view)
        variant = manifests.variant_of(inner, name) if name else manifests.first_variant(view)
        manifest = await manifests.fetch(hub, view, variant)
        _check_free(manifest)
        recorded = await numbers.newest(hub, f"{view.model}:{view.number}")
        taker = FolderTaker(dest, variant, view.number, force=force)
        await fetched(hub, view, variant, taker, silent=asked.json, retry=True)
    sums = "".join(f"{file.sha256.hex()}  {file.path}\n" for file in manifest.files)
    with disk_errors(dest):
        write_file(dest / SUMS, sums.encode())
        if sedna is not None:
            form = next((file.format for file in manifest.files if file.format), "")
            whole = variant.name == inner.variants[0].name  # as a promotion rule means it
            forms = {"", variant.name} if whole else {variant.name}
            about_it = sorted((one for one in recorded if one.variant in forms), key=lambda one: one.at)
            metrics = {**(inner.metrics if whole else {}), **{one.name: one.value for one in about_it}}
            about = Resource(inner.model.name, inner.model.namespace, url, form)
            write_file(sedna, write(about, metrics, time.time()).encode())
    document = {
        "model": view.model,
        "number": view.number,
        "variant": variant.name,
        "path": str(dest),
        "files": len(manifest.files),
        "bytes": manifest.content_size,
        "sums": str(dest / SUMS),
        "sedna": None if sedna is None else str(sedna),
    }
    content = f"{count(len(manifest.files), 'file')}, {size(manifest.content_size)}"
    lines = [f"{view.model}:{view.number} is in {dest}: {content}. Check: cd {dest} && sha256sum -c {SUMS}"]
    lines += [f"{sedna} describes it for Sedna."] if sedna is not None else []
    asked.answer(document, "\n".join(lines))


def _check_free(manifest: Manifest) -> None:
    if any(file.path == SUMS for file in manifest.files):
        raise ConflictError(
            f"the release has a file {SUMS} of its own", safe="nothing was written", hint="use pull instead"
        )
