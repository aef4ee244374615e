"""`modelsync-hub gc`: the only place that runs a gc at a stopped hub, and tells a person what rests there.

It does what `modelsyncctl gc` does at one that runs, and besides that codings go that are too many, and bytes of
codings that no row speaks of.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cloud_hub.catalog.codings import Kept
from cloud_hub.catalog.lineage import Name
from cloud_hub.codings import Swept
from cloud_hub.collector import Collector, Progress
from cloud_hub.stores import Stores, open_stores
from modelsyncd.errors import NotFoundError

Say = Callable[[str], object]
WHO = "modelsync-hub gc"  # who removed a release, in the list of decisions
_SHOWN = 20  # releases that are named to a person; JSON has them all


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hub keeps things, as its settings say; `room` is bytes of codings that it may keep."""

    data: Path
    database: str = ""
    blobs: str = ""
    room: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for; `grace` in seconds."""

    dry: bool
    grace: float
    as_json: bool


@dataclass(frozen=True, slots=True)
class _Rests:
    """What rests afterwards: packs of chunks, their bytes, and codings."""

    packs: int
    size: int
    kept: Kept


def gc(place: Place, wish: Wish, say: Say) -> int:
    """Removes, or only looks, and says what went and what is kept; the exit code.

    Raises NotFoundError when there is no hub in the folder, LockedError while one runs there, as `open_stores`, and as
    `Collector.run`; what went by then was needed by nobody.
    """
    if not place.data.is_dir():
        raise NotFoundError(f"there is no folder {place.data}", hint="--data names the folder of the hub")
    data = place.data.absolute()
    stores = open_stores(data, place.database, place.blobs, time.time(), codings_bytes=place.room)
    try:
        swept = stores.codings.sweep(dry=wish.dry)
        *_, last = Collector(stores.catalog, stores.stock, stores.packs).run(WHO, dry=wish.dry, grace=wish.grace)
        rests = _rests(stores)
    finally:
        stores.close()
    say((_as_json if wish.as_json else _as_text)(wish, last, swept, rests, place.room))
    return 0


def _rests(stores: Stores) -> _Rests:
    sizes = [blob.size for blob in stores.packs.list()]
    return _Rests(len(sizes), sum(sizes), stores.catalog.codings.kept())


def _as_text(wish: Wish, last: Progress, swept: Swept, rests: _Rests, room: int) -> str:
    kept, freed, step = rests.kept, last.freed, last.step
    went, end = f"{last.removed} went", ""
    gone = f"{freed.packs} packs of chunks, {freed.size} bytes; {swept.packs} packs of codings, {swept.size} bytes"
    if wish.dry:
        went, end = f"{len(last.going)} would go", "nothing was changed\n"
        gone = f"would be {step.swept} chunks, {step.swept_bytes} bytes in packs; {swept.size} bytes of codings"
    return (
        f"releases {went}, {len(last.spared)} that no rule keeps stay\n{_list(last.going)}{_list(last.spared)}"
        f"freed    {gone}\n"
        f"chunks   {rests.packs} packs, {rests.size} bytes\n"
        f"codings  {kept.packs} packs, {kept.size} bytes of {room} allowed, {kept.codings} codings\n{end}"
    )


def _list(judged: Mapping[Name, str]) -> str:
    shown = [f"  {name.model}:{name.number}  {why}\n" for name, why in sorted(judged.items())[:_SHOWN]]
    return "".join(shown) + (f"  and {len(judged) - _SHOWN} more\n" if len(judged) > _SHOWN else "")


def _as_json(wish: Wish, last: Progress, swept: Swept, rests: _Rests, room: int) -> str:
    kept = rests.kept
    answer = {
        "dry_run": wish.dry,
        "going": _shapes(last.going),
        "spared": _shapes(last.spared),
        "removed": last.removed,
        "chunks": last.step.chunks,
        "chunks_swept": last.step.swept,
        "bytes_swept": last.step.swept_bytes,
        "packs_freed": last.freed.packs,
        "bytes_copied": last.freed.copied,
        "bytes_freed": last.freed.size,
        "codings_freed": {"packs": swept.packs, "bytes": swept.size},
        "packs": {"packs": rests.packs, "bytes": rests.size},
        "codings": {"packs": kept.packs, "bytes": kept.size, "allowed": room, "codings": kept.codings},
    }
    return json.dumps(answer) + "\n"


def _shapes(judged: Mapping[Name, str]) -> list[dict[str, object]]:
    return [{"model": name.model, "number": name.number, "why": why} for name, why in sorted(judged.items())]
