"""A node that shows its versions over HTTP: a real folder, a real server, and channels that the test switches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_agent.activate import TreeStore
from edge_agent.callers import Tokens
from edge_agent.http.face import read_only
from edge_agent.http.server import serving_http
from edge_agent.job_rights import Grant, Rights
from edge_agent.watchers import Active
from modelsyncd.names import ModelRef, parse_ref
from modelsyncd.store.cache import Cache
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version
from modelsyncd.wire import nouns
from tests.fakes.installed import install_in
from tests.fakes.publisher import publication


@dataclass
class ShownNode:
    """Implements `edge_agent.http.versions.Channels` by looking at the disk each time."""

    store: TreeStore
    data: Path
    address: str = ""

    @property
    def refs(self) -> Sequence[ModelRef]:
        return sorted(self.store.observe().active, key=str)

    def active(self, ref: ModelRef) -> Active | None:
        return self.store.observe().serving(ref)

    def put(self, number: int, files: Mapping[str, bytes], *channels: str) -> Version:
        """Installs a version of acme/helmet, and leads these channels to it."""
        version = install_in(self.store.tree, publication(files, number=number))
        self.store.observe()
        for channel in channels:
            self.store.activate(parse_ref(f"acme/helmet@{channel}"), version)
        return version


@asynccontextmanager
async def shown_node(
    folder: Path, grants: Mapping[str, Grant] | None = None, tokens: Mapping[str, Path] | None = None
) -> AsyncIterator[ShownNode]:
    """Serves until the context ends."""
    tree = EdgeTree(folder, nouns)
    tree.prepare()
    cache = Cache(folder / "cache.db")
    store = TreeStore(tree, cache)
    known = Tokens(tokens or {})
    known.read()
    node = ShownNode(store, folder)
    try:
        routes = read_only(node, tree, store.leases, Rights(grants), known)
        async with serving_http(routes, "127.0.0.1:0") as node.address:
            yield node
        assert not store.leases.held(), "a request is over, and its version is still held"
    finally:
        cache.close()
