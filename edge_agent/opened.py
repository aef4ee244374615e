"""The only place where what a node's folder holds is opened, so that an idle agent costs little, and closed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from edge_agent.activate import TreeStore
from edge_agent.settings import Settings
from edge_agent.shelf import NodeShelf
from modelsyncd.store.cache import Cache
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns

CACHE = "cache.db"
_MAKE_CACHE = """
import os, pathlib, sys
from modelsyncd.store import cache, failpoints
failpoints.arm_from(os.environ)
cache.Cache(pathlib.Path(sys.argv[1])).close()
"""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[TreeStore, NodeShelf]]:
    """The store, and the shelf of what is on its way, while the block lasts. Raises DiskError."""
    folder = settings.folder
    await _make_cache(folder / CACHE)
    tree, cache = await asyncio.to_thread(_open, folder)
    shelf = NodeShelf(tree, cache)
    store = TreeStore(tree, cache, shelf.forget, quota=settings.quota_bytes, pins=settings.pinned)
    try:
        yield store, shelf
    finally:
        store.stop()
        await asyncio.to_thread(shelf.close)  # waits for what a thread is writing
        cache.close()


async def _make_cache(path: Path) -> None:
    """Lays out a new cache in a child: the library for it takes 16 MB, for good, and is needed once in a node's life.

    A child that fails says nothing: opening the cache does the same, and says why it can't.
    """
    if await asyncio.to_thread(path.exists):
        return
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _MAKE_CACHE, path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def _open(folder: Path) -> tuple[EdgeTree, Cache]:
    tree = EdgeTree(folder, nouns)
    tree.prepare()
    return tree, Cache(folder / CACHE)
