"""`modelsyncctl pull`: a release's files into a folder, straight from the hub; no agent is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from modelsyncd.ctl import cost as costs
from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.bases import read_bases
from modelsyncd.ctl.cost import Cost
from modelsyncd.ctl.fetched import fetched
from modelsyncd.ctl.figures import count, duration, share, size
from modelsyncd.ctl.hub import connect
from modelsyncd.digest import to_text
from modelsyncd.exchange.folder_taker import FolderTaker
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.exchange.manifests import variant_of
from modelsyncd.names import ModelRef, parse_ref
from modelsyncd.release import Variant


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came of it."""

    release: str
    variant: Variant
    folder: Path
    placed: int
    cost: Cost
    bases: tuple[LocalBase, ...]


@click.command("pull")
@click.argument("release", metavar="MODEL[@CHANNEL|:NUMBER]")
@click.argument("dest", type=click.Path(path_type=Path, file_okay=False))
@click.option("--variant", metavar="NAME", help="Which of the release's variants; by default the only one.")
@click.option("--force", is_flag=True, help="Replace files in DEST that differ.")
@click.option(
    *("--base", "bases"),
    type=click.Path(path_type=Path),
    multiple=True,
    help="A folder or file that was pushed or pulled before: what resembles it travels as the difference; repeatable.",
)
@click.option("--no-retry", is_flag=True, help="End when the link is lost, instead of going on when it is back.")
@asked
def command(
    asked: Asked,
    *,
    release: str,
    dest: Path,
    variant: str | None,
    force: bool,
    bases: tuple[Path, ...],
    no_retry: bool,
) -> None:
    """Fetch a release into a folder.

    Without a channel or number it is the newest. What lies in DEST already does not travel again, and what resembles it
    travels as the difference; files appear there only once all of them are here and verified. A pull that was cut off
    goes on when the same command is given again.
    """
    asked.run(
        _pull(asked, parse_ref(release), dest, variant, force=force, named=bases, retry=not no_retry),
        interrupted="What has arrived is kept beside its place: the same command goes on from it.",
    )


async def _pull(
    asked: Asked, ref: ModelRef, dest: Path, name: str | None, *, force: bool, named: Sequence[Path], retry: bool
) -> None:
    async with connect(asked) as hub:
        view = await hub.release(str(ref))
        variant = variant_of(shape.opened(view), name)
        bases = await read_bases(named, silent=asked.json)
        taker = FolderTaker(dest, variant, view.number, force=force, bases=bases)
        cost = await fetched(hub, view, variant, taker, silent=asked.json, retry=retry)
    pulled = Pulled(f"{view.model}:{view.number}", variant, dest, taker.placed, cost, tuple(bases))
    asked.answer(describe(pulled), text(pulled))


def describe(done: Pulled) -> dict[str, object]:
    """For programs."""
    model, _, number = done.release.rpartition(":")
    return {
        "model": model,
        "number": int(number),
        "variant": done.variant.name,
        "manifest_digest": to_text(done.variant.manifest.digest),
        "path": str(done.folder),
        "files": done.variant.manifest.files,
        "files_placed": done.placed,
        **costs.describe(done.cost),
        "bases": [one.describe() for one in done.bases],
    }


def text(done: Pulled) -> str:
    """For people."""
    content = f"{count(done.variant.manifest.files, 'file')}, {size(done.variant.manifest.content_size)}"
    if not done.placed:
        return f"{done.release} was in {done.folder} already ({content}), and every byte of it is right."
    cost = done.cost
    had = f"{share(cost.had, cost.content)} was here already" if cost.had else "all of it is new"
    told = (
        f"{done.release} is in {done.folder}: {content}; {had}, {size(cost.wire)} fetched in {duration(cost.seconds)}."
    )
    lines = [told, costs.sentence(cost, here=cost.taker_cpu, there=cost.giver_cpu)]
    if done.bases and cost.plain and not cost.coded:
        named = " or ".join(str(one.path) for one in done.bases)
        lines.append(
            f"Nothing was coded against {named}: it is no release that the hub holds, or does not resemble it."
        )
    return "\n".join(line for line in lines if line)
