"""The only place that re-hashes for a person what rests on a node, and has what is damaged mended.

It works beside an agent: it reads, lays down marks that the agent heeds, and tells the agent to look. Versions are
changed by the agent alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.settings import LOCK
from modelsyncd.digest import to_text
from modelsyncd.errors import DamageError, DiskError, NotFoundError, RefusedError
from modelsyncd.escapes import harmless
from modelsyncd.store.holder import hasten
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Damage, Version
from modelsyncd.wire import nouns

Say = Callable[[str], object]
_MENDING = "damaged chunks of what is assigned are fetched as soon as its hub is in reach, others when they are"


def verify(data: Path, say: Say, *, as_json: bool = False) -> int:
    """Reads every version whole and says what it found, a line each; returns 0, or DamageError's exit code.

    Damaged versions are marked, so that nobody is switched to them, and an agent that runs is told of it. Raises
    NotFoundError when there is no agent's folder, DiskError when it can't be read.
    """
    if not data.is_dir():
        raise NotFoundError(f"there is no folder {data}", hint="--data names the folder of the agent")
    tree = EdgeTree(data.absolute(), nouns)
    shown = tree.observed()
    versions = sorted(shown.held | shown.damaged)
    found = [damage for version in versions for damage in _damage(tree, version)]
    done = _have_mended(tree, found)
    for line in _as_json(versions, found, done) if as_json else map(harmless, _as_text(versions, found, done)):
        say(line + "\n")
    return DamageError.exit_code if found else 0


@dataclass(frozen=True, slots=True)
class Done:
    """What was done about damage: the agent's process that was told (None: no agent runs), or what stood in the way."""

    agent: int | None = None
    unmarked: str = ""
    untold: str = ""


def _have_mended(tree: EdgeTree, found: list[Damage]) -> Done:
    if not found:
        return Done()
    try:
        for version in sorted({damage.version for damage in found}):
            tree.quarantine(version)
    except DiskError as error:
        return Done(unmarked=error.message)
    try:
        return Done(agent=hasten(tree.layout.root / LOCK))
    except RefusedError as error:
        return Done(untold=error.message)


def _damage(tree: EdgeTree, version: Version) -> list[Damage]:
    found = list(tree.verify(version))
    # the agent beside us may have pruned it meanwhile
    return found if tree.layout.version(version).is_dir() else []


def _as_text(versions: list[Version], found: list[Damage], done: Done) -> Iterator[str]:
    for version in versions:
        wrong = [damage for damage in found if damage.version == version]
        yield f"{version.model}:{version.number}  {'damaged' if wrong else 'ok'}"
        for damage in wrong:
            yield f"  {damage.file or 'manifest'}  {'length' if damage.ordinal is None else f'chunk {damage.ordinal}'}"
    if found:
        yield from _ending(done)


def _ending(done: Done) -> Iterator[str]:
    if done.unmarked:
        yield f"the agent was not told: {done.unmarked}"
        yield "next: run this again as the owner of the folder, once it can be written to"
        return
    yield "safe: no channel is switched to a damaged version before it is mended"
    if done.untold:
        yield f"next: systemctl reload modelsync-agent ({done.untold}): {_MENDING}"
    elif done.agent is None:
        yield f"next: start the agent: {_MENDING}"
    else:
        yield f"next: nothing, the agent (process {done.agent}) was told: {_MENDING}"


def _as_json(versions: list[Version], found: list[Damage], done: Done) -> Iterator[str]:
    yield json.dumps(
        {
            "versions": [_facts(version) for version in versions],
            "damage": [{**_facts(one.version), "file": one.file, "chunk": one.ordinal} for one in found],
            "marked": bool(found) and not done.unmarked,
            "told": done.agent,
        }
    )


def _facts(version: Version) -> dict[str, str | int | None]:
    return {"model": str(version.model), "number": version.number, "manifest": to_text(version.manifest)}
