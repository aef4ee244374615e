"""The only place that says what waits on nodes to be published, and why: pure, from their last reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelsyncd.ctl import shape
from modelsyncd.ctl.figures import ago, count, local, share, size, utc
from modelsyncd.digest import Digest, to_text
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import sync_pb2

NAMED = 3  # models that a sentence names


def lines(nodes: Iterable[pb.NodeView], now: float, model: str = "") -> list[str]:
    """For people: a sentence for each node on which something waits, and what to type where somebody must act.

    With a model only what waits of that one, as far as the node named it.
    """
    found: list[str] = []
    for node in nodes:
        waiting = of(node, model)
        if waiting:
            found += _lines(node, waiting, now, alone=bool(model))
    return found


def of(node: pb.NodeView, model: str = "") -> Sequence[sync_pb2.Waiting]:
    """What waits on a node, as far as its report names it: all, or of one model."""
    return [one for one in node.report.outbox if model in ("", one.model)]


def documents(nodes: Iterable[pb.NodeView], model: str = "") -> list[shape.Shape]:
    """For programs: of each node on which something waits."""
    return [{"node": node.name, "online": node.online} | document(node, model) for node in nodes if of(node, model)]


def document(node: pb.NodeView, model: str = "") -> shape.Shape:
    """For programs: a node's outbox. With a model, counts are of what the report names."""
    waiting = of(node, model)
    report = node.report
    return {
        "releases": len(waiting) if model else max(report.outbox_length, len(waiting)),
        "bytes": sum(one.bytes_total for one in waiting) if model else report.outbox_bytes,
        "since": utc(min((one.stored_at for one in waiting), default=0.0)),
        "waiting": [_document(one) for one in waiting],
    }


def _document(one: sync_pb2.Waiting) -> shape.Shape:
    return {
        "model": one.model,
        "manifest_digest": to_text(Digest(one.manifest)) if one.manifest else None,
        "bytes_total": one.bytes_total,
        "bytes_done": one.bytes_done,
        "bytes_wire": one.bytes_wire,
        "stored_at": utc(one.stored_at),
        "error": shape.fault(one.fault) if one.HasField("fault") else None,
        "next_try": utc(one.next_try),
    }


def _lines(node: pb.NodeView, waiting: Sequence[sync_pb2.Waiting], now: float, *, alone: bool) -> list[str]:
    number = len(waiting) if alone else max(node.report.outbox_length, len(waiting))
    total = sum(one.bytes_total for one in waiting) if alone else node.report.outbox_bytes
    since = min(one.stored_at for one in waiting)
    verb = "waits" if number == 1 else "wait"
    head = f"{count(number, 'release')}, {size(total)} {verb} on {node.name} since {local(since)}"
    fault = next((one.fault for one in waiting if one.HasField("fault")), None)
    if fault is not None:
        again = min((one.next_try for one in waiting if one.next_try > now), default=0.0)
        later = f"; next try {ago(again, now)}" if again else ""
        return [f"{head}: {fault.message}{later}", *([f"  to type: {fault.hint}"] if _typed(fault.hint) else [])]
    return [f"{head}: {_how(node, waiting)}"]


def _how(node: pb.NodeView, waiting: Sequence[sync_pb2.Waiting]) -> str:
    """Of what nothing went wrong with."""
    if not node.online:
        return "the node is in no session with the hub"
    first = waiting[0]
    if first.bytes_done:
        return f"{share(first.bytes_done, first.bytes_total)} of {first.model} is here"
    names = list(dict.fromkeys(one.model for one in waiting))
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def _typed(hint: str) -> bool:
    return hint.startswith("modelsync")
