"""The only place that says what a release's files are: facts and the model card, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence

from modelsyncd.ctl import found
from modelsyncd.ctl.hub import Hub
from modelsyncd.wire.v1 import search_pb2 as pb

CARD_CHARS = 400  # characters of a card that are shown beside the rest
PORTS = 8  # inputs, and outputs, that are shown


async def described(hub: Hub, ref: str) -> pb.DescribeResponse:
    """What the hub reads from the release's files. Raises ModelsyncError."""
    return await hub.ask(hub.search.Describe, pb.DescribeRequest(ref=ref))


def describe(told: pb.DescribeResponse) -> dict[str, object]:
    """For programs."""
    values = found.by_key(told.traits)
    return {
        "licence": next(iter(values.get("licence", [])), None),
        "datasets": values.get("dataset", []),
        "facts": {
            one.variant: {
                "formats": list(one.formats),
                "frameworks": list(one.frameworks),
                "architectures": list(one.architectures),
                "parameters": one.parameters,
                "tensors": one.tensors,
                "dtypes": {dtype.dtype: dtype.elements for dtype in one.dtypes},
                "inputs": [_port(port) for port in one.inputs],
                "outputs": [_port(port) for port in one.outputs],
            }
            for one in told.variants
        },
        "card": card(told),
    }


def card(told: pb.DescribeResponse) -> dict[str, object] | None:
    """The model card for programs; None when there is none."""
    if not told.HasField("card"):
        return None
    one = told.card
    return {
        "title": one.title,
        "text": one.text,
        "licence": one.licence or None,
        "task": one.task or None,
        "tags": list(one.tags),
        "datasets": list(one.datasets),
        "parents": list(one.parents),
    }


def lines(told: pb.DescribeResponse) -> list[tuple[str, str]]:
    """For people: what is known and nothing else."""
    rows = [(name, found.cell(told.traits, key)) for name, key in _RELEASE]
    several = len(told.variants) > 1
    for one in told.variants:
        suffix = f" ({one.variant})" if several else ""
        rows += [(name + suffix, text) for name, text in _of_variant(one)]
    if told.HasField("card"):
        rows.append(("card", _short(told.card)))
    return [(name, text) for name, text in rows if text not in ("", "-")]


_RELEASE = (("licence", "licence"), ("data sets", "dataset"), ("task", "labels.task"), ("tags", "tag"))


def _of_variant(one: pb.VariantFacts) -> list[tuple[str, str]]:
    dtypes = ", ".join(f"{found.short(dtype.elements)} {dtype.dtype}" for dtype in one.dtypes)
    size = f"{found.short(one.parameters)} in {one.tensors:,} tensors: {dtypes}" if one.tensors else ""
    return [
        ("format", ", ".join(one.formats)),
        ("framework", ", ".join(one.frameworks)),
        ("architecture", ", ".join(one.architectures)),
        ("parameters", size),
        ("inputs", _ports(one.inputs)),
        ("outputs", _ports(one.outputs)),
    ]


def _ports(ports: Sequence[pb.PortView]) -> str:
    some = [f"{port.name} {port.dtype}[{', '.join(port.shape)}]" for port in ports[:PORTS]]
    more = [f"and {len(ports) - PORTS} more"] if len(ports) > PORTS else []
    return "; ".join([*some, *more])


def _port(port: pb.PortView) -> dict[str, object]:
    extents = [int(extent) if extent.isdecimal() else extent for extent in port.shape]
    return {"name": port.name, "dtype": port.dtype or None, "shape": extents}


def _short(one: pb.CardView) -> str:
    text = " ".join(one.text.split())
    return text if len(text) <= CARD_CHARS else f"{text[:CARD_CHARS].rsplit(' ', 1)[0]} … (all of it: show --card)"
