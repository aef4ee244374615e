"""The only place that shows where one assignment stands on a node: a row of `status` and of `node show`."""

from __future__ import annotations

from modelsyncd.ctl.figures import ago, duration, share, size
from modelsyncd.ctl.shape import hold, phase
from modelsyncd.ctl.table import Cell, Column, Row
from modelsyncd.wire.v1 import sync_pb2

COLUMNS = (
    Column("MODEL"),
    Column("DESIRED", right=True),
    Column("STAGED", right=True),
    Column("ACTIVE", right=True),
    Column("PHASE"),
    Column("PROGRESS", right=True),
    Column("WIRE", right=True),
    Column("CODED", right=True),
    Column("CPU", right=True),
    Column("LAST ERROR"),
)
PHASE = 4
"""Which column tells the phase."""
COLOURS = {
    "active": "green",
    "rolled-back": "yellow",
    "failed": "red",
    "refused": "red",
    "fetching": "cyan",
    "activating": "cyan",
    "confirming": "cyan",
}


def cells(standing: sync_pb2.Standing, desired: int, now: float) -> Row:
    """A row; `desired` is the hub's word, which may be newer than the node's."""
    word, held = phase(standing.phase), hold(standing.hold)
    return [
        f"{standing.model}@{standing.channel}",
        _release(desired, standing.variant if standing.desired == desired else ""),
        str(standing.staged or "-"),
        _release(standing.active, standing.active_variant),
        Cell(f"{word}, {held}" if held else word, COLOURS.get(word, "white")),
        progress(standing),
        size(standing.bytes_wire) if standing.bytes_wire else "-",
        share(standing.bytes_coded, standing.bytes_total) if standing.bytes_coded else "-",
        cpu(standing),
        trouble(standing, now),
    ]


def _release(number: int, variant: str) -> str:
    """As in "3", or "3 int8" where the release has several variants."""
    return " ".join(part for part in (str(number or "-"), variant) if part)


def progress(standing: sync_pb2.Standing) -> str:
    """How much is durable there, of how much."""
    if not standing.bytes_total:
        return "-"
    return f"{share(standing.bytes_done, standing.bytes_total)} of {size(standing.bytes_total)}"


def cpu(standing: sync_pb2.Standing) -> str:
    """What fetching it cost the hub and the node."""
    if not standing.bytes_wire:
        return "-"
    return f"{duration(standing.giver_cpu)} + {duration(standing.taker_cpu)}"


def trouble(standing: sync_pb2.Standing, now: float) -> str:
    """The last error, and when it is tried again."""
    if not standing.HasField("fault"):
        return "-"
    again = f"; next try {ago(standing.next_try, now)}" if standing.next_try > now else ""
    return f"{standing.fault.message}{again}"
