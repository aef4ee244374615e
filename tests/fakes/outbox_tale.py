"""A node that publishes three things and records a number, with a hub that remembers; to be killed anywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from edge_agent.outbox.box import NodeOutbox
from edge_agent.outbox.numbers import Kept
from edge_agent.outbox.papers import decode
from edge_agent.outbox.words import Measured, Publication
from modelsyncd.digest import Digest, digest_of
from modelsyncd.names import parse_model
from modelsyncd.store.source import scan
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from modelsyncd.wire.nouns import encode_manifest
from tests.fakes.hub_of_words import HubOfWords
from tests.fakes.node_life import here

Tell = Callable[..., None]
HELMET, VEST = parse_model("acme/helmet"), parse_model("acme/vest")
PUBLISHED = ((HELMET, b"first helmet" * 9_000), (HELMET, b"second helmet" * 9_000), (VEST, b"a vest"))


class RememberingHub(HubOfWords):
    """Its catalogue is a file, which no kill of the node harms."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.numbers: list[str] = []
        kept = json.loads(path.read_text()) if path.exists() else {"releases": {}, "numbers": []}
        for model, rows in kept["releases"].items():
            self.releases[parse_model(model)] = [tuple(map(bytes.fromhex, row)) for row in rows]  # type: ignore[misc]
        self.numbers = kept["numbers"]

    def answer(self, index: int = 0) -> None:
        try:
            super().answer(index)
        finally:
            self.save()

    async def hand(self, numbers: Sequence[Kept]) -> Sequence[str]:
        self.numbers += [one.key.hex() for one in numbers if one.key.hex() not in self.numbers]
        self.save()
        return []

    def save(self) -> None:
        releases = {str(model): [[a.hex(), b.hex()] for a, b in rows] for model, rows in self.releases.items()}
        self._path.write_text(json.dumps({"releases": releases, "numbers": self.numbers}))


class OutboxTale:
    """As above. What it is sure of: stored, recorded, sent."""

    name = "outbox"

    def begin(self, root: Path) -> None:
        (root / "trained").mkdir(parents=True)
        for number, (_, content) in enumerate(PUBLISHED):
            folder = root / "trained" / str(number) / "deep"
            folder.mkdir(parents=True)
            (folder / "model.bin").write_bytes(content)
            (folder.parent / "labels.txt").write_text(str(number))

    def live(self, root: Path, tell: Tell) -> None:
        with patch.object(asyncio, "to_thread", here):
            asyncio.run(self._live(root, tell))

    async def _live(self, root: Path, tell: Tell) -> None:
        hub = RememberingHub(root / "hub.json")
        tree = EdgeTree(root / "node", nouns)
        tree.prepare()
        outbox = NodeOutbox(
            root / "node", tree, producer=lambda: "node/one", hand=hub.hand, wall=lambda: 1e9, jitter=lambda: 0.0
        )
        await outbox.load()
        tell("phase", "store")
        for number, (model, _) in enumerate(PUBLISHED):
            stored = await outbox.store(Publication(root / "trained" / str(number), model))
            tell("stored", number, stored.manifest.hex())
        await outbox.record([Measured(HELMET, 1, "recall", 0.9)])
        tell("recorded")
        tell("phase", "send")
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            run = group.create_task(outbox.run())
            hub.connect(outbox)
            while outbox.items() or outbox.records:
                while hub.offers:
                    hub.answer()
                await asyncio.sleep(0)
            tell("sent")
            tell("phase", "adopt")
            await outbox.adopt(_manifest(root, 2))
            run.cancel()

    def check(self, root: Path, told: Sequence[Sequence[Any]]) -> None:
        hub = RememberingHub(root / "hub.json")
        there = [manifest for rows in hub.releases.values() for manifest, _ in rows]
        assert len(there) == len(set(there)), "published twice"
        assert [one for one, _ in hub.releases.get(HELMET, [])] in ([], *_beginnings(root)), "in another order"
        waits = set()
        for folder in (root / "node" / "outbox").iterdir() if (root / "node" / "outbox").exists() else ():
            if folder.is_dir() and "." not in folder.name:
                paper = decode((folder / "paper").read_bytes())
                assert digest_of(encode_manifest(scan(folder / "content").manifest)) == paper.manifest
                waits.add(paper.manifest)
        for word in told:
            if word[0] == "stored":
                assert bytes.fromhex(word[2]) in {*there, *waits}, f"{word[1]} was stored, and is gone"
        recorded = sum(word[0] == "recorded" for word in told)
        spool = root / "node" / "outbox" / "numbers"
        lines = len(spool.read_bytes().splitlines()) if spool.exists() else 0
        assert len(hub.numbers) + lines >= recorded, "a number is gone"

    def check_end(self, root: Path, told: Sequence[Sequence[Any]]) -> None:
        hub = RememberingHub(root / "hub.json")
        assert [one for one, _ in hub.releases[HELMET]] == [_manifest(root, 0), _manifest(root, 1)]
        assert [one for one, _ in hub.releases[VEST]] == [_manifest(root, 2)]
        lives = 1 + sum(word[0] in ("died", "ended") for word in told)
        assert 1 <= len(hub.numbers) <= lives  # who was killed before it was told records again
        assert len(set(hub.numbers)) == len(hub.numbers)
        staged = root / "node" / "staging" / _manifest(root, 2).hex()
        assert (staged / "deep" / "model.bin").read_bytes() == PUBLISHED[2][1]


def _manifest(root: Path, number: int) -> Digest:
    return digest_of(encode_manifest(scan(root / "trained" / str(number)).manifest))


def _beginnings(root: Path) -> list[list[Digest]]:
    both = [_manifest(root, 0), _manifest(root, 1)]
    return [both[:1], both]
