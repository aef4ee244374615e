"""The only place that re-hashes for a person what rests on a node.

It reads, and marks versions that are damaged, which an agent that starts sees and repairs; so it works beside an agent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from modelsyncd.digest import to_text
from modelsyncd.errors import DamageError, NotFoundError
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Damage, Version
from modelsyncd.wire import nouns

Say = Callable[[str], object]


def verify(data: Path, say: Say, *, as_json: bool = False) -> int:
    """Reads every version whole, says what it found, a line each, and marks what is damaged.

    Returns 0, or DamageError's exit code. Raises NotFoundError when there is no agent's folder, DiskError when it can't
    be read, or marked, which comes after all was said.
    """
    if not data.is_dir():
        raise NotFoundError(f"there is no folder {data}", hint="--data names the folder of the agent")
    tree = EdgeTree(data.absolute(), nouns)
    shown = tree.observed()
    versions = sorted(shown.held | shown.damaged)
    found = [damage for version in versions for damage in _damage(tree, version)]
    for line in _as_json(versions, found) if as_json else _as_text(versions, found):
        say(line + "\n")
    for version in sorted({damage.version for damage in found}):
        tree.quarantine(version)
    return DamageError.exit_code if found else 0


def _damage(tree: EdgeTree, version: Version) -> list[Damage]:
    found = list(tree.verify(version))
    # the agent beside us may have pruned it meanwhile
    return found if tree.layout.version(version).is_dir() else []


def _as_text(versions: list[Version], found: list[Damage]) -> Iterator[str]:
    for version in versions:
        wrong = [damage for damage in found if damage.version == version]
        yield f"{version.model}:{version.number}  {'damaged' if wrong else 'ok'}"
        for damage in wrong:
            yield f"  {damage.file or 'manifest'}  {'length' if damage.ordinal is None else f'chunk {damage.ordinal}'}"
    if found:
        yield "next: restart the agent with its hub in reach: damaged chunks are fetched again"


def _as_json(versions: list[Version], found: list[Damage]) -> Iterator[str]:
    yield json.dumps(
        {
            "versions": [_facts(version) for version in versions],
            "damage": [{**_facts(one.version), "file": one.file, "chunk": one.ordinal} for one in found],
        }
    )


def _facts(version: Version) -> dict[str, str | int | None]:
    return {"model": str(version.model), "number": version.number, "manifest": to_text(version.manifest)}
