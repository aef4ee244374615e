"""`modelsyncctl plan`: what it takes to have a release somewhere, before anything travels."""

from __future__ import annotations

import time

import click

from modelsyncd.ctl import allowance
from modelsyncd.ctl.allowance import Allowance
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import count, share, size
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.progress import Step, meter
from modelsyncd.ctl.rate import rate_option
from modelsyncd.ctl.table import fields
from modelsyncd.digest import Digest, short, to_text
from modelsyncd.errors import BadInputError
from modelsyncd.names import parse_node, parse_ref, parse_variant
from modelsyncd.release import DEFAULT_VARIANT
from modelsyncd.wire.v1 import catalog_pb2 as pb


@click.command("plan")
@click.argument("release", metavar="MODEL[@CHANNEL|:NUMBER]")
@click.option("--node", "-n", metavar="NAME", help="For this node, with what it last said that it holds.")
@click.option("--from", "from_", metavar="MODEL:N", help="For whoever holds this release, and nothing else.")
@click.option("--variant", metavar="NAME", help="Which variant; by default the one that fits the node, or the usual.")
@rate_option("What the link carries, as in 20Mbit: for the time, and for how hard chunks are coded.")
@asked
def command(
    asked: Asked, *, release: str, node: str | None, from_: str | None, variant: str | None, rate: float | None
) -> None:
    """Show what it would take to fetch a release: bytes by way of saving, disk, time.

    Without --node and --from it is a first fetch, by somebody who has nothing. The bytes are exact: the hub codes every
    chunk as it would for the transfer, and keeps that, so that the transfer need not do it again.
    """
    if node and from_:
        raise BadInputError("a plan is for a node, or from a release, not both: name one of --node and --from")
    request = pb.PlanRequest(
        ref=str(parse_ref(release)),
        node=parse_node(node) if node else "",
        from_ref=str(parse_ref(from_)) if from_ else "",
        rate=rate or 0.0,
        variant=parse_variant(variant) if variant else "",
    )
    asked.run(_plan(asked, request), interrupted="Nothing was changed; what was coded so far is kept.")


async def _plan(asked: Asked, request: pb.PlanRequest) -> None:
    async with connect(asked) as hub:
        last = pb.PlanResponse()
        with meter("planning", silent=asked.json) as shown_by:
            async for last in hub.listen(hub.catalog.Plan, request):
                shown_by.show(Step(last.bytes_total, last.bytes))
    if not last.HasField("plan"):
        raise hub.ended("the hub stopped before the plan was made")
    now = time.time()
    asked.answer(describe(request, last.plan, now), text(request, last.plan, now))


def describe(request: pb.PlanRequest, plan: pb.TransferPlan, now: float) -> dict[str, object]:
    """For programs."""
    return {
        "model": plan.model,
        "number": plan.number,
        "variant": plan.variant,
        "manifest_digest": to_text(Digest(plan.manifest)),
        "node": request.node or None,
        "from": request.from_ref or None,
        "holdings_known": plan.holdings_known,
        "bytes": plan.bytes_total,
        "bytes_had": plan.bytes_had,
        "bytes_coded": plan.bytes_coded,
        "bytes_plain": plan.bytes_plain,
        "bytes_wire": plan.bytes_wire,
        "coded_wire": plan.coded_wire,
        "plain_wire": plan.plain_wire,
        "manifest_bytes": plan.manifest_bytes,
        "manifest_wire": plan.manifest_wire,
        "framing_estimate": plan.framing_estimate,
        "chunks": plan.chunks_total,
        "chunks_fetch": plan.chunks_fetch,
        "bytes_arrived": plan.bytes_arrived,
        "disk_bytes": plan.disk_bytes,
        "disk_free": plan.disk_free or None,
        "bases": [_base(base) for base in plan.bases],
        "effort": plan.effort,
        "rate": plan.rate or None,
        "seconds": round(plan.seconds, 3) if plan.rate else None,
        "cpu_seconds": round(plan.cpu_seconds, 3),
        "limits": allowance.document(Allowance(plan, now)) if request.node else None,
    }


def _base(base: pb.PlanBase) -> dict[str, object]:
    return {
        "model": base.model or None,
        "number": base.number or None,
        "manifest_digest": to_text(Digest(base.manifest)),
        "bytes_coded": base.bytes_coded,
        "allowed": base.allowed,
    }


def text(request: pb.PlanRequest, plan: pb.TransferPlan, now: float) -> str:
    """For people."""
    allowed = Allowance(plan, now)
    lines = [
        ("full size", f"{size(plan.bytes_total)} in {count(plan.chunks_total, 'chunk')}"),
        ("there already", _of(plan.bytes_had, plan)),
        ("coded against a base", _way(plan.bytes_coded, plan.coded_wire, plan) + _against(plan)),
        ("without a base", _way(plan.bytes_plain, plan.plain_wire, plan)),
        ("manifest", f"{size(plan.manifest_bytes)} as {size(plan.manifest_wire)}"),
        ("on the wire", f"{size(plan.bytes_wire)}, {share(plan.bytes_wire, plan.bytes_total)} of the full size"),
        ("framing", f"about {size(plan.framing_estimate)} more, an estimate of what the protocol adds"),
        ("disk", _disk(plan)),
        ("time", allowance.time_words(allowed)),
        *allowance.lines(allowed),
    ]
    notes = [*_notes(request, plan), *allowance.notes(allowed, _lane(request, plan), request.node)]
    return "\n".join([_title(request, plan), fields(lines), *(f"\n{note}" for note in notes)])


def _title(request: pb.PlanRequest, plan: pb.TransferPlan) -> str:
    named = f" ({plan.variant})" if plan.variant not in ("", DEFAULT_VARIANT) else ""
    what = f"{plan.model}:{plan.number}{named}"
    if request.node:
        held = ", ".join(map(_name, plan.bases)) if plan.bases else "nothing"
        there = f"which holds {held}" if plan.holdings_known else "of which it is not known what it holds"
        return f"{what} to node {request.node}, {there}"
    if request.from_ref:
        return f"{what} to whoever holds {', '.join(map(_name, plan.bases))}"
    return f"{what} to whoever has nothing"


def _name(base: pb.PlanBase) -> str:
    return f"{base.model}:{base.number}" if base.model else short(Digest(base.manifest))


def _of(part: int, plan: pb.TransferPlan) -> str:
    return f"{size(part)} ({share(part, plan.bytes_total)})"


def _way(part: int, wire: int, plan: pb.TransferPlan) -> str:
    return f"{_of(part, plan)} as {size(wire)}" if part else "none"


def _against(plan: pb.TransferPlan) -> str:
    used = [_name(base) for base in plan.bases if base.bytes_coded]
    return f", against {', '.join(used)}" if used else ""


def _disk(plan: pb.TransferPlan) -> str:
    free = f", {size(plan.disk_free)} free when it last said" if plan.disk_free else ""
    return f"{size(plan.disk_bytes)} needed{free}"


def _lane(request: pb.PlanRequest, plan: pb.TransferPlan) -> str:
    return f"{plan.model}@{parse_ref(request.ref).channel or 'CHANNEL'}"


def _notes(request: pb.PlanRequest, plan: pb.TransferPlan) -> list[str]:
    notes: list[str] = []
    if request.node and not plan.holdings_known:
        notes.append(
            f"Node {request.node} never said what it holds: this is a first fetch, and less travels if it has a base."
        )
    if plan.bytes_arrived:
        notes.append(f"{size(plan.bytes_arrived)} of it came in an earlier try and will not travel again.")
    if plan.disk_free and plan.disk_free < plan.disk_bytes:
        notes.append(f"It does not fit: {size(plan.disk_bytes - plan.disk_free)} must be freed on the node first.")
    barred = [_name(base) for base in plan.bases if not base.allowed]
    if request.node and barred and plan.bytes_wire:
        notes.append(f"Not coded against {', '.join(barred)}: no channel that the node follows ever named it.")
    return notes
