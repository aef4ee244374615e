"""`modelsyncctl lineage`: what a release came from and what came from it, as trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import click

from modelsyncd.ctl import numbers, shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import size
from modelsyncd.ctl.hub import connect
from modelsyncd.digest import Digest, digest_of, to_text
from modelsyncd.escapes import plain
from modelsyncd.names import ModelRef, parse_ref
from modelsyncd.wire.v1 import catalog_pb2, records_pb2
from modelsyncd.wire.v1 import lineage_pb2 as pb

_SHOWN = 4  # metrics of one release

Name = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Family:
    """What the hub told, by name."""

    start: Name
    releases: Mapping[Name, catalog_pb2.ReleaseView]
    metrics: Mapping[Name, Mapping[str, float]]
    parents: Mapping[Name, Sequence[pb.Tie]]
    children: Mapping[Name, Sequence[pb.Tie]]
    cut: bool


@click.command("lineage")
@click.argument("release", metavar="MODEL[@CHANNEL|:NUMBER]")
@click.option("--depth", type=click.IntRange(1, 100), default=100, metavar="N", help="At most so many steps each way.")
@asked
def command(asked: Asked, release: str, depth: int) -> None:
    """Show what a release came from, and what came from it, as trees.

    As in: modelsyncctl lineage acme/helmet@stable
    """
    asked.run(_lineage(asked, parse_ref(release), depth))


async def _lineage(asked: Asked, ref: ModelRef, depth: int) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.lineage.Trace, pb.TraceRequest(ref=str(ref), depth=depth))
    asked.answer(describe(answer), text(answer))


def describe(answer: pb.TraceResponse) -> shape.Shape:
    """For programs."""
    family = family_of(answer)
    return {
        "model": answer.start.model,
        "number": answer.start.number,
        "releases": [
            shape.release(view) | {"newest_metrics": dict(family.metrics[_name(view)])} for view in answer.releases
        ],
        "ties": [
            {
                "child": _ref(_name(tie.child)),
                "parent": _ref(_name(tie.parent)),
                "parent_digest": to_text(Digest(tie.parent_digest)),
                "role": tie.role,
            }
            for tie in answer.ties
        ],
        "cut": answer.cut,
    }


def family_of(answer: pb.TraceResponse) -> Family:
    """What was told, so that it can be walked. Metrics are the newest, or what a release was published with."""
    metrics = {_name(view): dict(shape.opened(view).metrics) for view in answer.releases}
    for one in answer.numbers:
        metrics.setdefault(_name(one), {})[one.name] = one.value
    parents: dict[Name, list[pb.Tie]] = {}
    children: dict[Name, list[pb.Tie]] = {}
    for tie in answer.ties:
        parents.setdefault(_name(tie.child), []).append(tie)
        children.setdefault(_name(tie.parent), []).append(tie)
    views = {_name(view): view for view in answer.releases}
    return Family(_name(answer.start), views, metrics, parents, children, answer.cut)


def text(answer: pb.TraceResponse) -> str:
    """For people: the release, and two trees."""
    family = family_of(answer)
    above = list(_tree(family, family.start, "", {family.start}, up=True))
    below = list(_tree(family, family.start, "", {family.start}, up=False))
    lines = [_line(family, family.start)]
    lines += ["", "Came from", *above] if above else []
    lines += ["", "Became", *below] if below else []
    if not above and not below:
        lines.append("It does not say what it came from, and nothing says that it came from it.")
    lines += ["", "There is more: ask about one of the last."] if family.cut else []
    return "\n".join(lines)


def _tree(family: Family, name: Name, indent: str, seen: set[Name], *, up: bool) -> Iterator[str]:
    ties = (family.parents if up else family.children).get(name, ())
    for place, tie in enumerate(ties):
        last = place == len(ties) - 1
        other = _name(tie.parent if up else tie.child)
        known, wrong = other in seen, _is_another(family, tie)
        note = " (see above)" if known and other in family.releases else ""
        note += " (another release has this name here)" if wrong else ""
        yield f"{indent}{'└─ ' if last else '├─ '}{plain(tie.role) or 'from'}: {_line(family, other)}{note}"
        if known or (up and wrong):
            continue
        seen.add(other)
        yield from _tree(family, other, indent + ("   " if last else "│  "), seen, up=up)


def _is_another(family: Family, tie: pb.Tie) -> bool:
    """Whether the parent's name is that of another release here."""
    view = family.releases.get(_name(tie.parent))
    return view is not None and bool(tie.parent_digest) and digest_of(view.signed.release) != tie.parent_digest


def _line(family: Family, name: Name) -> str:
    view = family.releases.get(name)
    if view is None:
        return f"{_ref(name)}  not here"
    inner = shape.opened(view)
    sizes = [
        f"{plain(one.name)} {size(one.manifest.content_size)}"
        if len(inner.variants) > 1
        else size(shape.content_size(inner))
        for one in inner.variants
    ]
    measured = [f"{plain(key)} {numbers.value(value)}" for key, value in sorted(family.metrics[name].items())]
    more = ["…"] if len(measured) > _SHOWN else []
    channels = [f"@{channel}" for channel in view.channels]
    parts = [_ref(name), ", ".join(sizes), ", ".join([*measured[:_SHOWN], *more]), " ".join(channels)]
    return "  ".join(part for part in parts if part)


def _name(one: pb.ReleaseName | catalog_pb2.ReleaseView | records_pb2.Number) -> Name:
    return one.model, one.number


def _ref(name: Name) -> str:
    return f"{plain(name[0])}:{name[1]}"
