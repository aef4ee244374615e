"""What jobs publish rests on the node: a whole copy under a name, or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.outbox.box import NodeOutbox
from edge_agent.outbox.words import Publication
from modelsyncd.digest import digest_of
from modelsyncd.names import parse_model
from modelsyncd.store.source import scan
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from modelsyncd.wire.nouns import encode_manifest

HELMET = parse_model("acme/helmet")


async def outbox(root: Path, **more: Callable[[], int]) -> NodeOutbox:
    """The one that a node has after a start."""
    tree = EdgeTree(root, nouns)
    tree.prepare()
    made = NodeOutbox(root, tree, producer=lambda: "node/one", **more)
    await made.load()
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    (folder / "labels").mkdir(parents=True)
    (folder / "model.bin").write_bytes(os.urandom(900_000))
    (folder / "labels" / "en.txt").write_text("helmet\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "empty").touch()
    return folder


def wanted(path: Path, channel: str = "", **labels: str) -> Publication:
    return Publication(path, HELMET, channel, labels=labels, metrics={"recall": 0.1 + 0.2}, note="ok", user="job")


async def test_a_copy_is_kept_whatever_becomes_of_the_original(tmp_path: Path, model: Path) -> None:
    name = digest_of(encode_manifest(scan(model).manifest))
    first = await outbox(tmp_path / "node")
    stored = await first.store(wanted(model, "stable", round="3"))
    assert (stored.manifest, stored.size, stored.known) == (name, 900_017, False)
    (model / "model.bin").write_bytes(b"something else")
    again = await outbox(tmp_path / "node")
    (item,) = again.items()
    assert (item.id, item.manifest, item.publication) == (stored.id, name, wanted(model, "stable", round="3"))
    content = tmp_path / "node" / "outbox" / stored.id / "content"
    assert digest_of(encode_manifest(scan(content).manifest)) == name
    assert [oct((content / each).stat().st_mode & 0o777) for each in ("run.sh", "model.bin")] == ["0o555", "0o444"]
