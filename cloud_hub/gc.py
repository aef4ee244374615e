"""`modelsync-hub gc`: the only place that tells a person what rests at a stopped hub, and gives back what need not.

Codings go that are too many, and bytes that no row speaks of. Chunks stay, whatever refers to them: they are releases.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from cloud_hub.catalog.codings import Kept
from cloud_hub.codings import Swept
from cloud_hub.stores import Stores, open_stores
from modelsyncd.errors import NotFoundError

Say = Callable[[str], object]


def gc(data: Path, database: str, blobs: str, codings_bytes: int, say: Say, *, as_json: bool) -> int:
    """Sweeps, and says what was freed and what is kept; the exit code.

    Raises NotFoundError when there is no hub in the folder, LockedError while one runs there, and as `open_stores`.
    """
    if not data.is_dir():
        raise NotFoundError(f"there is no folder {data}", hint="--data names the folder of the hub")
    stores = open_stores(data.absolute(), database, blobs, time.time(), codings_bytes=codings_bytes)
    try:
        freed = stores.codings.sweep()
        packs, size = _packs(stores)
        kept = stores.catalog.codings.kept()
    finally:
        stores.close()
    tell = _as_json if as_json else _as_text
    say(tell(packs, size, kept, freed, codings_bytes))
    return 0


def _packs(stores: Stores) -> tuple[int, int]:
    """How many packs of chunks there are, and their bytes."""
    sizes = [blob.size for blob in stores.packs.list()]
    return len(sizes), sum(sizes)


def _as_text(packs: int, size: int, kept: Kept, freed: Swept, room: int) -> str:
    return (
        f"chunks   {packs} packs, {size} bytes\n"
        f"codings  {kept.packs} packs, {kept.size} bytes of {room} allowed, {kept.codings} codings\n"
        f"freed    {freed.packs} packs, {freed.size} bytes\n"
    )


def _as_json(packs: int, size: int, kept: Kept, freed: Swept, room: int) -> str:
    answer = {
        "chunks": {"packs": packs, "bytes": size},
        "codings": {"packs": kept.packs, "bytes": kept.size, "allowed": room, "codings": kept.codings},
        "freed": {"packs": freed.packs, "bytes": freed.size},
    }
    return json.dumps(answer) + "\n"
