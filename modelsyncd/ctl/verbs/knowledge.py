"""`modelsyncctl knowledge`: many task models as one release, and where each is on this machine."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from modelsyncd.client.knowledge import Knowledge, Task, lay_out
from modelsyncd.ctl import pairs
from modelsyncd.ctl.agent import agent_option, reach
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.fetched import fetched
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.ctl.progress import meter
from modelsyncd.ctl.pushing import describe, publish, read, text
from modelsyncd.ctl.table import Column, table
from modelsyncd.errors import BadInputError
from modelsyncd.exchange import manifests
from modelsyncd.exchange.folder_taker import FolderTaker
from modelsyncd.exchange.places import usual_cache
from modelsyncd.exchange.publishing import Push, Wish, next_number
from modelsyncd.names import ModelRef, parse_place, parse_ref
from modelsyncd.store.durable import disk_errors, make_folder

_COLUMNS = (Column("TASK"), Column("ATTRIBUTES"), Column("PATH"))


@click.group("knowledge")
def command() -> None:
    """Publish many task models as one release, and find each on this machine."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a knowledge base is put together from."""

    tasks: Mapping[str, Path]
    attributes: Mapping[str, Mapping[str, str]]
    samples: Path | None
    base: ModelRef | None


@command.command("push")
@click.argument("model")
@click.option("--task", "tasks", multiple=True, metavar="NAME=PATH", help="A task and its model; repeatable.")
@click.option("--attribute", "attributes", multiple=True, metavar="TASK:K=V", help="When it is meant; repeatable.")
@click.option("--samples", type=click.Path(path_type=Path, exists=True, file_okay=False), help="A folder of samples.")
@click.option("--update", "base", metavar="RELEASE", help="Take over the tasks of this release that are not named.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label of the release; repeatable.")
@click.option("--metric", "metrics", multiple=True, metavar="K=V", help="A number known about it; repeatable.")
@click.option("--note", default="", help="A sentence for people.")
@asked
def push(
    asked: Asked,
    *,
    model: str,
    tasks: tuple[str, ...],
    attributes: tuple[str, ...],
    samples: Path | None,
    base: str | None,
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    note: str,
) -> None:
    """Publish task models, an index of them and samples as one release.

    All of them are switched together. Only what has changed travels, to the hub and to nodes:

    modelsyncctl knowledge push acme/tolls@stable --update acme/tolls --task night=n.onnx --attribute night:light=low
    """
    ref = parse_ref(model)
    if ref.number is not None:
        raise BadInputError(f"the hub gives the number: write {ref.model}")
    named = _tasks(tasks)
    if not named and base is None:
        raise BadInputError("a knowledge base needs tasks", hint="--task night=models/night.onnx")
    parts = Parts(named, _attributes(attributes), samples, parse_ref(base) if base else None)
    wish = Wish(ref.model, ref.channel or "", pairs.labels(labels), pairs.metrics(metrics), note)
    asked.run(_push(asked, wish, parts), interrupted="Nothing was published. What the hub has received stays there.")


async def _push(asked: Asked, wish: Wish, parts: Parts) -> None:
    cache = usual_cache() / "knowledge"
    await asyncio.to_thread(make_folder, cache)
    async with connect(asked) as hub, _before(asked, hub, parts.base, cache) as before:
        number = await next_number(hub, wish.model)
        with tempfile.TemporaryDirectory(dir=cache) as top:
            folder = Path(top)

            def build() -> Knowledge:
                with disk_errors(folder):
                    return lay_out(folder, parts.tasks, parts.attributes, parts.samples, before)

            made = await asyncio.to_thread(build)
            with await read(asked, folder) as source, meter(f"pushing {wish.model}", silent=asked.json) as shown:
                done = await publish(Push(hub, wish, source), shown, number)
    asked.answer({"tasks": sorted(made.tasks), **describe(done)}, f"{len(made.tasks)} tasks. {text(done)}")


@asynccontextmanager
async def _before(asked: Asked, hub: Hub, ref: ModelRef | None, cache: Path) -> AsyncIterator[Knowledge | None]:
    """What is taken over, fetched for as long as it is needed."""
    if ref is None:
        yield None
        return
    view = await hub.release(str(ref))
    variant = manifests.first_variant(view)
    with tempfile.TemporaryDirectory(dir=cache) as top:
        folder = Path(top) / "before"
        taker = FolderTaker(folder, variant, view.number, force=False)
        await fetched(hub, view, variant, taker, silent=asked.json, retry=True)
        yield await asyncio.to_thread(Knowledge.at, folder)


def _tasks(arguments: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not equals or not path:
            raise BadInputError(f"{argument[:80]!r} is no task", hint="write it as --task night=models/night.onnx")
        if parse_place(name) in found:
            raise BadInputError(f"task {name} is named twice")
        found[name] = Path(path)
    return found


def _attributes(arguments: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, list[str]] = {}
    for argument in arguments:
        task, colon, pair = argument.partition(":")
        if not colon or "=" not in pair:
            raise BadInputError(f"{argument[:80]!r} is no attribute", hint="write it as --attribute night:light=low")
        found.setdefault(task, []).append(pair)
    return {task: pairs.labels(several) for task, several in found.items()}


@command.command("list")
@click.argument("ref", metavar="MODEL[@CHANNEL]")
@click.option("--attribute", "attributes", multiple=True, metavar="K=V", help="Only tasks with this; repeatable.")
@agent_option
@asked
def list_tasks(asked: Asked, ref: str, attributes: tuple[str, ...], socket: str | None) -> None:
    """List the tasks of a knowledge base on this machine, and where their models are."""
    asked.run(_list(asked, ref, pairs.labels(attributes), socket))


async def _list(asked: Asked, ref: str, attributes: Mapping[str, str], socket: str | None) -> None:
    number, known = await _here(ref, socket)
    found = known.matching(**attributes)
    tasks = [_shown(known, one) for one in found]
    document = {"number": number, "tasks": tasks}
    rows = [[one.name, pairs_of(one.attributes), str(known.folder / one.path)] for one in found]
    asked.answer(document, table(_COLUMNS, rows) if rows else "No task is like that.")


def _shown(known: Knowledge, one: Task) -> dict[str, object]:
    return {"name": one.name, "attributes": dict(one.attributes), "path": str(known.folder / one.path)}


@command.command("path")
@click.argument("ref", metavar="MODEL[@CHANNEL]")
@click.argument("task")
@agent_option
@asked
def path(asked: Asked, ref: str, task: str, socket: str | None) -> None:
    """Print where the model of one task is on this machine."""
    asked.run(_path(asked, ref, task, socket))


async def _path(asked: Asked, ref: str, task: str, socket: str | None) -> None:
    number, known = await _here(ref, socket)
    found = await asyncio.to_thread(known.task, task)
    asked.answer({"number": number, "task": task, "path": str(found)}, str(found))


async def _here(ref: str, socket: str | None) -> tuple[int, Knowledge]:
    async with reach(socket) as agent:
        model = await agent.get(ref)
    return model.number, await asyncio.to_thread(Knowledge.at, model.path)


def pairs_of(attributes: Mapping[str, str]) -> str:
    """For a table."""
    return " ".join(f"{key}={value}" for key, value in sorted(attributes.items())) or "-"
