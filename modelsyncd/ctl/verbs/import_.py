"""`modelsyncctl import`: somebody else's form of a model becomes a model's next release, with what the form says."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import click

from modelsyncd.ctl import imported, pairs
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.progress import meter
from modelsyncd.ctl.pushing import describe, publish, read, text
from modelsyncd.errors import BadInputError
from modelsyncd.exchange.places import usual_cache
from modelsyncd.exchange.publishing import Push, Wish, next_number
from modelsyncd.foreign.brought import Brought, has_others_files, lay_out
from modelsyncd.foreign.reading import FORMS
from modelsyncd.foreign.reading import read as bring
from modelsyncd.names import parse_channel, parse_ref
from modelsyncd.store.durable import disk_errors, make_folder


@click.command("import")
@click.argument("origin", metavar="PATH|URL")
@click.argument("model")
@click.option("--channel", metavar="C", help="Move this channel to the new release.")
@click.option("--form", type=click.Choice(FORMS), default=None, help="What it is; found out when it is not said.")
@click.option("--revision", metavar="R", default="", help="Branch or commit of a model in Hugging Face's cache.")
@click.option("--root", type=click.Path(path_type=Path), help="Where the paths of a Sedna resource begin here.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label of the release; repeatable.")
@click.option("--metric", "metrics", multiple=True, metavar="K=V", help="A number known about it; repeatable.")
@click.option("--note", default="", help="A sentence for people.")
@click.option("--licence", "--license", default="", metavar="NAME", help="Its terms, where no card says them.")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="What it was trained on; repeatable.")
@asked
def command(
    asked: Asked,
    *,
    origin: str,
    model: str,
    channel: str | None,
    form: str | None,
    revision: str,
    root: Path | None,
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    note: str,
    licence: str,
    datasets: tuple[str, ...],
) -> None:
    """Publish somebody else's form of a model, with what the form says of it.

    PATH is a folder in Hugging Face's layout or a model in its cache, an MLflow model, a Sedna Model resource as YAML,
    or any file or folder. With a URL (s3://, gs://, az://, https://) the hub fetches it, with its own credentials:

    modelsyncctl import ~/.cache/huggingface/hub/models--acme--helmet acme/helmet

    modelsyncctl import s3://models/helmet/7/ acme/helmet --channel candidate
    """
    ref = parse_ref(model)
    if ref.number is not None:
        raise BadInputError(f"the hub gives the number: import into {ref.model}, without :{ref.number}")
    moved = parse_channel(channel) if channel else ref.channel or ""
    wish = Wish(ref.model, moved, pairs.labels(labels), pairs.metrics(metrics), note)
    wish = replace(wish, licence=licence, datasets=datasets)
    if "://" in origin and not origin.startswith("file://"):
        work = imported.by_hub(asked, origin, wish)
    else:
        path = Path(origin.removeprefix("file://")).expanduser()
        work = _here(asked, path, wish, form or "", revision, root=root)
    asked.run(work, interrupted="Nothing was published. What the hub has received stays there.")


async def _here(asked: Asked, path: Path, wish: Wish, form: str, revision: str, *, root: Path | None) -> None:
    with disk_errors(path):
        brought = await asyncio.to_thread(bring, path, form, revision, root)
    asked.note(f"{path}: {brought.form}")
    async with connect(asked) as hub, _laid_out(brought) as folder:
        number = await next_number(hub, wish.model)
        with await read(asked, folder) as source, meter(f"pushing {wish.model}", silent=asked.json) as shown:
            done = await publish(Push(hub, said(wish, brought), source), shown, number)
    asked.answer({"form": brought.form, **describe(done)}, text(done))


def said(wish: Wish, brought: Brought) -> Wish:
    """What a person says counts before what the form says."""
    return replace(
        wish,
        labels={**brought.labels, **wish.labels},
        metrics={**brought.metrics, **wish.metrics},
        note=wish.note or brought.note,
        licence=wish.licence or brought.licence,
        datasets=wish.datasets or brought.datasets,
    )


@asynccontextmanager
async def _laid_out(brought: Brought) -> AsyncIterator[Path]:
    """What is to be pushed: the folder itself, or one that has the model's files alone."""
    if not brought.path.is_dir() or not await asyncio.to_thread(has_others_files, brought.path):
        yield brought.path
        return
    cache = usual_cache() / "import"
    make_folder(cache)
    with disk_errors(cache), tempfile.TemporaryDirectory(dir=cache) as top:
        folder = Path(top) / brought.path.name
        folder.mkdir()
        await asyncio.to_thread(lay_out, brought.path, folder)
        yield folder
