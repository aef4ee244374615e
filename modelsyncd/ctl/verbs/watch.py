"""`modelsyncctl watch`: what happens at the hub, as it happens."""

from __future__ import annotations

import click

from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import count, local, pairs, size, utc
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.ctl.retry import insist
from modelsyncd.ctl.standing import progress
from modelsyncd.escapes import plain
from modelsyncd.names import parse_model, parse_node
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import sync_pb2


@click.command("watch")
@click.option("--model", metavar="MODEL", help="Only events of this model.")
@click.option("--node", metavar="NAME", help="Only events of this node.")
@click.option("--no-retry", is_flag=True, help="End when the link is lost, instead of connecting again.")
@asked
def command(asked: Asked, model: str | None, node: str | None, no_retry: bool) -> None:
    """Print events as they happen.

    Releases, channel moves, and nodes coming, going and reporting. What happens while a link is lost is not told
    afterwards; `history` and `status` are the record.
    """
    request = pb.WatchEventsRequest(
        model=str(parse_model(model)) if model else "", node=parse_node(node) if node else ""
    )
    asked.run(_watch(asked, request, retry=not no_retry))


async def _watch(asked: Asked, request: pb.WatchEventsRequest, *, retry: bool) -> None:
    async with connect(asked) as hub:
        await hub.greet()  # a wrong address is told at once; only a link that was good is tried again
        asked.note(f"Watching {hub.address}; end with Ctrl-C.")
        await insist(lambda: _listen(asked, hub, request), retry=retry, note=asked.note)


async def _listen(asked: Asked, hub: Hub, request: pb.WatchEventsRequest) -> None:
    async for event in hub.listen(hub.catalog.WatchEvents, request):
        document = describe(event)
        if document is not None:
            asked.event(document, text(event))
    raise hub.ended("the hub ended the watch")


def describe(event: pb.WatchEventsResponse) -> dict[str, object] | None:
    """An event for programs; None for a kind that this version does not know."""
    at: dict[str, object] = {"at": utc(event.at)}
    match event.WhichOneof("event"):
        case "released":
            return at | {"event": "released", "release": shape.release(event.released)}
        case "moved":
            return at | {"event": "moved", "model": event.moved.model, "move": shape.move(event.moved.move)}
        case "node":
            return at | {"event": "node", "node": shape.node(event.node)}
        case "retried":
            lane = {"model": event.retried.model, "channel": event.retried.channel}
            return at | {"event": "retried"} | lane | {"nodes": list(event.retried.nodes), "who": event.retried.who}
        case _:
            return None


def text(event: pb.WatchEventsResponse) -> str:
    """An event on one line."""
    return f"{local(event.at)}  {plain(_words(event))}"


def _words(event: pb.WatchEventsResponse) -> str:
    match event.WhichOneof("event"):
        case "released":
            inner = shape.opened(event.released)
            content = size(shape.content_size(inner))
            labels = f", {pairs(inner.labels)}" if inner.labels else ""
            return f"released  {event.released.model}:{event.released.number}, {content}, by {inner.producer}{labels}"
        case "moved":
            move = event.moved.move
            before = f" (before: {move.from_number})" if move.from_number else ""
            return (
                f"moved     {event.moved.model}@{move.channel} to {move.to_number}{before}, by {move.who}: {move.why}"
            )
        case "retried":
            again = event.retried
            return f"retried   {again.model}@{again.channel} on {', '.join(again.nodes)}, by {again.who}"
        case _:
            link = "online" if event.node.online else "offline"
            standings = "; ".join(map(_standing, event.node.report.standings))
            waiting = event.node.report.outbox_length
            outbox = f"; {count(waiting, 'release')} to publish" if waiting else ""
            return f"node      {event.node.name} {link}" + (f": {standings}" if standings else "") + outbox


def _standing(standing: sync_pb2.Standing) -> str:
    phase = shape.phase(standing.phase)
    trouble = f" ({standing.fault.message})" if standing.HasField("fault") else ""
    far = f" {progress(standing)}" if phase == "fetching" else ""
    return f"{standing.model}@{standing.channel} {phase}{far}, active {standing.active or '-'}{trouble}"
