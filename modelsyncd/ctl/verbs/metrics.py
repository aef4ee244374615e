"""`modelsyncctl metrics`: the numbers that nodes and people recorded about releases, listed or drawn."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import click

from modelsyncd.ctl import chart, numbers, series, svg
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import count
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.series import By
from modelsyncd.errors import NotFoundError
from modelsyncd.names import ModelRef, parse_ref
from modelsyncd.store.durable import write_file
from modelsyncd.wire.v1 import records_pb2 as pb

_WIDEST = 100  # cells of a chart in a terminal


@click.command("metrics")
@click.argument("release", metavar="MODEL[@CHANNEL|:NUMBER]")
@click.option("--name", default="", metavar="NAME", help="Only this number, as in precision.")
@click.option("--newest", is_flag=True, help="Of each release, form and name only the newest.")
@click.option("--variant", metavar="NAME", help="Only numbers about this form of the releases.")
@click.option("--dataset", metavar="NAME", help="Only numbers that were measured on this.")
@click.option("--stage", metavar="WORD", help="Only numbers of this stage: train, eval, deploy, …")
@click.option("--plot", is_flag=True, help="Draw them instead of listing them.")
@click.option("--svg", "file", type=click.Path(path_type=Path, dir_okay=False), help="Draw them into this file.")
@click.option(
    "--by",
    type=click.Choice([one.value for one in By]),
    help="Draw of each release the newest, or all by time; by release if there are several.",
)
@asked
def command(
    asked: Asked,
    *,
    release: str,
    name: str,
    newest: bool,
    variant: str | None,
    dataset: str | None,
    stage: str | None,
    plot: bool,
    file: Path | None,
    by: str | None,
) -> None:
    """Show the numbers recorded about a model's releases, oldest first.

    Without a channel or number it is all of the model's releases. To see how they became better:

        modelsyncctl metrics acme/helmet --name precision --plot
    """
    wanted = {"variant": variant, "dataset": dataset, "stage": stage}
    asked.run(_metrics(asked, parse_ref(release), name, wanted, newest=newest, plot=plot, file=file, by=by))


async def _metrics(
    asked: Asked,
    ref: ModelRef,
    name: str,
    wanted: dict[str, str | None],
    *,
    newest: bool,
    plot: bool,
    file: Path | None,
    by: str | None,
) -> None:
    found: list[pb.Number] = []
    async with connect(asked) as hub:
        if newest:
            found += await numbers.newest(hub, str(ref), name)
        else:
            async for page in numbers.pages(hub, str(ref), name):
                found += page
    found = [one for one in found if all(getattr(one, key) == said for key, said in wanted.items() if said is not None)]
    drawn = series.charts(found, By(by) if by else None) if plot or file else ()
    document: dict[str, object] = {"numbers": [numbers.describe(one) for one in found]}
    if file is not None:
        if not found:
            raise NotFoundError(f"nothing was recorded about {ref} that could be drawn", safe=f"{file} was not written")
        write_file(file, svg.picture(drawn).encode())
        document["file"] = str(file)
    said = [f"Drew {count(len(drawn), 'chart')} into {file}."] if file is not None else []
    if plot and found:
        width = min(shutil.get_terminal_size().columns, _WIDEST)
        said += ["\n\n".join(chart.drawn(one, width) for one in drawn)]
    asked.answer(document, "\n".join(said) or text(ref, found, time.time()))


def text(ref: ModelRef, found: Sequence[pb.Number], now: float) -> str:
    """For people."""
    return numbers.text(found, now) if found else f"Nothing was recorded about {ref} yet."
