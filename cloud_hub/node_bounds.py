"""The only place that says what a node may use for one release: what holds there, and what its month and disk took."""

from __future__ import annotations

from dataclasses import dataclass

from cloud_hub.catalog import Catalog
from cloud_hub.catalog.bounds import Bounds
from modelsyncd.digest import Digest
from modelsyncd.manners import FREE, Manners
from modelsyncd.names import ModelRef
from modelsyncd.session.frames import Report
from modelsyncd.wire.nouns import decode_report

_SILENT = Report(0, ())


@dataclass(frozen=True, slots=True)
class NodeBounds:
    """What a node may use: `manners` for everything, and besides `own` for the channel that is meant."""

    manners: Manners = FREE
    own: Manners = FREE
    quota: int = 0
    """Bytes of disk, the hub's word or else the node's own; 0 for none."""
    consented: bool = False
    """Whether somebody let the release exceed the month."""
    report: Report = _SILENT

    @property
    def several(self) -> tuple[Manners, Manners]:
        """Both, to be kept together."""
        return self.manners, self.own


def of_node(catalog: Catalog, node: str, ref: ModelRef, manifest: Digest) -> NodeBounds:
    """For a manifest on a node; without a channel in `ref`, the one of its model that the node follows, if it is one.

    Raises NotFoundError.
    """
    rows = catalog.assignments.desired(node)
    raw = catalog.nodes.get(node).report
    report = decode_report(raw) if raw else _SILENT
    channels = {follows.channel for follows in rows.followed if follows.model == ref.model}
    channel = ref.channel or (channels.pop() if len(channels) == 1 else None)
    bounds: Bounds = rows.bounds
    return NodeBounds(
        bounds.manners,
        bounds.of(ref.model, channel) if channel is not None else FREE,
        min(filter(None, (bounds.quota, report.quota)), default=0),  # the node's own word holds beside the hub's
        (ref.model, manifest) in bounds.consents,
        report,
    )
