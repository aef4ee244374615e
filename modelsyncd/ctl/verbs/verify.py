"""`modelsyncctl verify`: re-hash what rests, at the hub, in an agent's store or in a folder that was pulled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import count, size
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.progress import Meter, Step, meter
from modelsyncd.errors import BadInputError, DamageError, NotFoundError
from modelsyncd.escapes import plain
from modelsyncd.exchange import manifests
from modelsyncd.exchange.destination import Look, State, look
from modelsyncd.exchange.thread import Check, in_thread
from modelsyncd.manifest import Manifest
from modelsyncd.names import ModelRef, parse_ref
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from modelsyncd.wire.v1 import catalog_pb2 as pb

_SHOWN = 20  # damaged things named to a person; --json has them all


@click.command("verify")
@click.argument("release", metavar="[MODEL[@CHANNEL|:NUMBER]]", default="")
@click.option("--agent", type=click.Path(path_type=Path), metavar="DIR", help="An agent's data folder, here.")
@click.option("--folder", type=click.Path(path_type=Path), metavar="DIR", help="A folder that was pulled, here.")
@click.option("--variant", metavar="NAME", help="Which variant the folder should hold; by default the usual one.")
@asked
def command(asked: Asked, release: str, agent: Path | None, folder: Path | None, variant: str | None) -> None:
    """Re-hash what rests at the hub, in an agent's store or in a folder.

    At the hub: everything, or one release; the hub forgets where damaged chunks rest, so that pushing the same content
    brings them back. With --folder, its files against the release that is named. In a folder and in an agent's store
    nothing is changed: `modelsync-agent verify` has the agent mend what is damaged. The exit code is 8 when something
    is damaged or missing.
    """
    ref = parse_ref(release) if release else None
    if agent and (folder or ref):
        raise BadInputError("--agent verifies a whole store: name no release and no --folder with it")
    if folder and ref is None:
        raise BadInputError(
            "which release should the folder hold?", hint=f"modelsyncctl verify MODEL:N --folder {folder}"
        )
    if variant and not folder:
        raise BadInputError("--variant says what a folder should hold", hint="at the hub all variants are verified")
    if agent:
        asked.run(_agent(asked, agent))
    elif folder and ref:
        asked.run(_folder(asked, ref, folder, variant))
    else:
        asked.run(_hub(asked, ref))


async def _hub(asked: Asked, ref: ModelRef | None) -> None:
    async with connect(asked) as hub:
        with meter("verifying", silent=asked.json, amount=_chunks) as shown:
            last = pb.VerifyResponse()
            async for last in hub.listen(hub.catalog.Verify, pb.VerifyRequest(ref=str(ref) if ref else "")):
                shown.show(Step(last.chunks_total, last.chunks))
    if not last.done:
        raise hub.ended("the hub stopped before it had verified everything")
    found = list(last.damaged)
    what = str(ref) if ref else "everything"
    report = {"what": what, "chunks": last.chunks, "bytes": last.bytes, "damaged": found, "ok": not found}
    told = f"{what} at {hub.address}: {count(last.chunks, 'chunk')}, {size(last.bytes)} read back"
    asked.answer(report, f"{told}, all as their digests say." if not found else f"{told}.{_list(found)}")
    if found:
        raise DamageError(
            f"{count(len(found), 'chunk')} at the hub are missing or damaged",
            safe="no node takes a damaged chunk; versions that are active stay as they are",
            hint="push the same content again: only what is damaged travels",
        )


async def _agent(asked: Asked, root: Path) -> None:
    with meter("verifying", silent=asked.json, amount=_versions) as shown:
        store = await in_thread(lambda check: read_store(root, shown, check))
    report = {"what": "agent", "path": str(root), "versions": store.versions, "damaged": store.damaged}
    told = f"{root}: {count(len(store.versions), 'version')}"
    wrong = [f"{one['release']} {one['path']}: {one['wrong']}" for one in store.damaged]
    asked.answer(report | {"ok": not wrong}, f"{told}, every byte is right." if not wrong else f"{told}.{_list(wrong)}")
    if wrong:
        raise DamageError(
            f"{count(len(wrong), 'place')} in {root} are missing or damaged",
            safe="nothing was changed, and the versions not named here are right",
            hint=f"as the owner of the folder: modelsync-agent verify --data {root} has the agent mend them",
        )


@dataclass(frozen=True, slots=True)
class Store:
    """What was found in an agent's store."""

    versions: list[str]
    damaged: list[dict[str, object]]


def read_store(root: Path, shown: Meter, check: Check) -> Store:
    """Reads every version of an agent's store whole. Raises NotFoundError, DiskError."""
    if not (root / "models").is_dir():
        raise NotFoundError(f"{root} is no agent's data folder", hint="it has a folder `models` in it")
    tree = EdgeTree(root, nouns)
    there = tree.observed()
    versions = sorted(there.held | there.damaged)
    damaged: list[dict[str, object]] = []
    for number, version in enumerate(versions):
        shown.show(Step(len(versions), number))
        name = f"{version.model}:{version.number}"
        for damage in tree.verify(version, check):
            wrong = "its manifest" if not damage.file else "size" if damage.ordinal is None else "bytes"
            damaged.append({"release": name, "path": damage.file, "chunk": damage.ordinal, "wrong": wrong})
    return Store([f"{version.model}:{version.number}" for version in versions], damaged)


async def _folder(asked: Asked, ref: ModelRef, folder: Path, variant: str | None) -> None:
    manifest, name = await _manifest(asked, ref, variant)

    def work(check: Check) -> list[Look]:
        if not folder.is_dir():
            raise NotFoundError(f"there is no folder {folder}")
        return list(look(folder, manifest, check))

    looks = await in_thread(work)
    found = {one.file.path: one.state.value for one in looks if one.state is not State.SAME}
    report = {"what": name, "path": str(folder), "files": len(looks), "damaged": found, "ok": not found}
    told = f"{folder} against {name}: {count(len(looks), 'file')}, {size(manifest.content_size)}"
    wrong = [f"{path} is {state}" for path, state in found.items()]
    asked.answer(report, f"{told}, every byte is right." if not found else f"{told}.{_list(wrong)}")
    if found:
        raise DamageError(
            f"{count(len(found), 'file')} in {folder} are not those of {name}",
            safe="nothing was changed",
            hint=f"modelsyncctl pull {name} {folder} --force brings back only what is wrong",
        )


async def _manifest(asked: Asked, ref: ModelRef, name: str | None) -> tuple[Manifest, str]:
    async with connect(asked) as hub:
        view = await hub.release(str(ref))
        variant = manifests.variant_of(shape.opened(view), name) if name else manifests.first_variant(view)
        return await manifests.fetch(hub, view, variant), f"{view.model}:{view.number}"


def _list(lines: list[str]) -> str:
    shown = "".join(f"\n  {plain(line)}" for line in lines[:_SHOWN])
    return shown + (f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else "")


def _chunks(number: float) -> str:
    return count(round(number), "chunk")


def _versions(number: float) -> str:
    return count(round(number), "version")
