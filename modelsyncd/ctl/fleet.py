"""What `status` shows, decided without any I/O: the hub's word on what should be, beside each node's on what is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelsyncd.session.frames import Phase
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import sync_pb2


@dataclass(frozen=True, slots=True)
class Place:
    """One model's channel on one node; `desired` is the hub's number, 0 for none.

    `standing` is what the node last said about it, None when it has not spoken of it yet.
    """

    node: pb.NodeView
    model: str
    channel: str
    desired: int
    standing: sync_pb2.Standing | None

    @property
    def settled(self) -> bool:
        """Whether the node has active what the hub wants, and is not trying it out."""
        said = self.standing
        if said is None or said.phase in (Phase.CONFIRMING.value, Phase.REFUSED.value):
            return False
        return said.active == self.desired and (said.desired != self.desired or said.active_variant == said.variant)


def places(
    nodes: Sequence[pb.NodeView], assignments: Sequence[pb.AssignmentView], models: Sequence[pb.ModelView]
) -> tuple[list[Place], list[pb.NodeView]]:
    """Every place by node, model and channel; and the nodes that follow nothing.

    A standing that no assignment asks for any more is shown as long as the node speaks of it: it is still there.
    """
    numbers = {(model.model, channel.name): channel.number for model in models for channel in model.channels}
    found: list[Place] = []
    idle: list[pb.NodeView] = []
    for node in sorted(nodes, key=lambda node: node.name):
        spoken = {(one.model, one.channel): one for one in node.report.standings}
        asked = {(one.model, one.channel) for one in assignments if node.name in one.nodes}
        for key in sorted(asked | set(spoken)):
            desired = numbers.get(key, 0) if key in asked else 0
            found.append(Place(node, *key, desired, spoken.get(key)))
        if not asked and not spoken:
            idle.append(node)
    return found, idle
