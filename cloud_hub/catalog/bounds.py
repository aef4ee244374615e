"""The only place that puts together what holds on one node: limits, pins, consents and retries that reach it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from cloud_hub.catalog import consents, limits, pins, retries
from cloud_hub.catalog.consents import ConsentRow
from cloud_hub.catalog.pins import PinRow
from cloud_hub.catalog.retries import Lane
from cloud_hub.catalog.terms import LimitRow, combined
from cloud_hub.catalog.whom import Reaching, Whom
from modelsyncd.digest import Digest
from modelsyncd.manners import FREE, Manners
from modelsyncd.names import ModelName, ModelRef


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds on a node: for all that it fetches, and besides for some of its lanes; `quota` is 0 for none.

    `retries` grow when somebody has the node try again what failed there.
    """

    manners: Manners = FREE
    quota: int = 0
    pins: tuple[ModelRef, ...] = ()
    lanes: Mapping[Lane, Manners] = field(default_factory=dict)
    consents: Mapping[tuple[ModelName, Digest], ConsentRow] = field(default_factory=dict)
    retries: Mapping[Lane, int] = field(default_factory=dict)

    def of(self, model: ModelName, channel: str) -> Manners:
        """What holds for a channel besides what holds for all."""
        return self.lanes.get((model, channel), FREE)


def of(connection: Connection, node: str, known: Mapping[str, str]) -> Bounds:
    """What holds on a node with these labels."""
    return _together(
        limits.reaching(connection, node, known),
        pins.pins_on(connection, node, known),
        consents.consents_for(connection, node),
        retries.counts(connection, node),
    )


def of_all(connection: Connection, known: Mapping[str, Mapping[str, str]]) -> dict[str, Bounds]:
    """What holds on each of these nodes, by name with their labels."""
    set_for = Reaching((row.whom, row) for row in limits.every(connection))
    pinned = Reaching((row.whom, row) for row in pins.every(connection))
    allowed = Reaching((Whom(row.node), row) for row in consents.every(connection))
    again = retries.every(connection)
    return {
        node: _together(set_for.node(node, has), pinned.node(node, has), allowed.node(node, has), again.get(node, {}))
        for node, has in known.items()
    }


def _together(
    set_for: Sequence[LimitRow],
    pinned: Sequence[PinRow],
    allowed: Sequence[ConsentRow],
    again: Mapping[Lane, int],
) -> Bounds:
    overall: list[LimitRow] = []
    apart: dict[Lane, list[LimitRow]] = {}
    for row in set_for:
        if row.model is None:
            overall.append(row)
        else:
            apart.setdefault((row.model, row.channel), []).append(row)
    manners, quota = combined(overall)
    return Bounds(
        manners,
        quota,
        tuple({str(row.ref): row.ref for row in pinned}.values()),
        {lane: combined(rows)[0] for lane, rows in apart.items()},
        {(row.ref.model, row.manifest): row for row in allowed},
        again,
    )
