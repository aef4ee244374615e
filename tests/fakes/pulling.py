"""What `modelsyncctl pull` does with a release, without a link: surveys, keeps what is missing, completes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from modelsyncd.exchange.folder_taker import FolderTaker
from modelsyncd.session.frames import Part
from tests.fakes.node_life import here
from tests.fakes.versions import Published


def pull(dest: Path, what: Published, batch: int, told: Callable[[tuple[Part, int]], None] = lambda _: None) -> None:
    """Fills a folder, so many chunks at a time; each chunk is told once it is durable. Raises as FolderTaker."""
    taker = FolderTaker(dest, what.release.variants[0], what.release.number, force=True)

    async def take() -> None:
        for part in Part:
            missing = (await taker.survey(what.offer, part)).ordinals
            for start in range(0, len(missing), batch):
                some = missing[start : start + batch]
                await taker.keep(what.keeps(part, some))
                for ordinal in some:
                    told((part, ordinal))
        await taker.complete(what.offer)

    try:
        with patch.object(asyncio, "to_thread", here):
            asyncio.run(take())
    finally:
        taker.close()
