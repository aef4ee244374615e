"""The only place that reads and shows what a limit sets: rate, windows, budget, quota, pause, background."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from modelsyncd.ctl import rate, shape, whom
from modelsyncd.ctl.figures import count, size, utc
from modelsyncd.errors import BadInputError
from modelsyncd.manners import Manners
from modelsyncd.names import DEFAULT_CHANNEL, parse_ref
from modelsyncd.schedule import parse_opening
from modelsyncd.sizes import parse_size
from modelsyncd.wire.desired import manners_from_pb
from modelsyncd.wire.v1 import limits_pb2 as pb
from modelsyncd.wire.v1 import sync_pb2

NO_LIMIT = "no limit"
NONE, ALWAYS = "none", "always"
"""What is typed for "nothing is limited here", of a rate or size and of windows."""


def rate_of(text: str) -> int:
    """Bytes a second. Raises BadInputError."""
    if text == NONE:
        return 0
    found = rate.parse(text)
    if found is None:
        raise BadInputError(f"{text[:80]!r} is no rate", hint=f"write it as 2Mbit or 250kB, each second; or {NONE}")
    return max(1, round(found))


def size_of(text: str) -> int:
    """Bytes. Raises BadInputError."""
    if text == NONE:
        return 0
    found = parse_size(text)
    if not found:
        raise BadInputError("0 bytes would let nothing through", hint=f"`modelsyncctl pause` does that; or {NONE}")
    return found


def windows_of(texts: Sequence[str]) -> pb.Windows | None:
    """Times of the week; None when none were named. Raises BadInputError."""
    if not texts:
        return None
    if ALWAYS in texts:
        if len(texts) > 1:
            raise BadInputError(f"{ALWAYS} leaves no room for other windows", hint="name the windows, or only that")
        return pb.Windows()
    return pb.Windows(windows=[str(parse_opening(text)) for text in texts])


def lane_of(text: str | None) -> tuple[str, str]:
    """Model and channel; both empty for everything. Raises BadInputError, InvalidNameError."""
    if text is None:
        return "", ""
    ref = parse_ref(text)
    if ref.number is not None:
        raise BadInputError(
            f"limits are for channels, not for numbers like {ref.number}",
            hint=f"modelsyncctl limit {ref.model}@{DEFAULT_CHANNEL} …",
        )
    return str(ref.model), ref.channel or DEFAULT_CHANNEL


def ref_of(model: str, channel: str) -> str:
    """The lane as it is typed; "everything" for none."""
    return f"{model}@{channel}" if model else "everything"


# --- for people ---


def manners_words(view: sync_pb2.Manners) -> str:
    """What holds: "2 Mbit/s; 22:00-06:00, sat-sun; 5.0 GiB a month; paused"; "no limit"."""
    return "; ".join(_manners(manners_from_pb(view))) or NO_LIMIT


def limit_words(view: pb.LimitView) -> str:
    """What was set in one place, "none" and "always" included."""
    words: list[str] = []
    if view.HasField("rate"):
        words.append(rate.shown(view.rate) if view.rate else "any rate")
    if view.HasField("windows"):
        words.append(", ".join(view.windows.windows) or "at any time")
    if view.HasField("month_bytes"):
        words.append(f"{size(view.month_bytes)} a month" if view.month_bytes else "no budget")
    if view.HasField("background"):
        words.append("in the background" if view.background else "not in the background")
    if view.HasField("quota_bytes"):
        words.append(f"{size(view.quota_bytes)} of disk" if view.quota_bytes else "no quota")
    if view.paused:
        words.append("paused")
    return "; ".join(words) or "nothing"


def _manners(manners: Manners) -> list[str]:
    words: list[str] = []
    if manners.rate:
        words.append(rate.shown(manners.rate))
    if manners.openings:
        words.append(", ".join(manners.words))
    if manners.month_bytes:
        words.append(f"{size(manners.month_bytes)} a month")
    if manners.background:
        words.append("in the background")
    if manners.paused:
        words.append("paused")
    return words


# --- for programs ---


def limit(view: pb.LimitView) -> shape.Shape:
    """What was set in one place; null was not set there, 0 and [] limit nothing."""
    return {
        **_whom(view.whom),
        "model": view.model or None,
        "channel": view.channel or None,
        "rate": view.rate if view.HasField("rate") else None,
        "windows": list(view.windows.windows) if view.HasField("windows") else None,
        "month_bytes": view.month_bytes if view.HasField("month_bytes") else None,
        "paused": view.paused,
        "background": view.background if view.HasField("background") else None,
        "quota_bytes": view.quota_bytes if view.HasField("quota_bytes") else None,
        "who": view.who,
        "at": utc(view.at),
        "note": view.note,
        "nodes": list(view.nodes),
    }


def manners(view: sync_pb2.Manners) -> shape.Shape:
    """What holds; null limits nothing."""
    return {
        "rate": view.rate or None,
        "windows": list(view.windows),
        "month_bytes": view.month_bytes or None,
        "paused": view.paused,
        "background": view.background,
    }


def pin(view: pb.PinView) -> shape.Shape:
    """A pin."""
    return {
        **_whom(view.whom),
        "model": view.model,
        "number": view.number,
        "who": view.who,
        "at": utc(view.at),
        "note": view.note,
        "nodes": list(view.nodes),
    }


def consent(view: pb.ConsentView) -> shape.Shape:
    """A consent."""
    return {
        "node": view.node,
        "model": view.model,
        "number": view.number,
        "who": view.who,
        "at": utc(view.at),
        "note": view.note,
    }


def decision(view: pb.DecisionView) -> shape.Shape:
    """A decision."""
    return {
        "at": utc(view.at),
        "who": view.who,
        "kind": view.kind,
        **_whom(view.whom),
        "ref": view.ref or None,
        "what": view.what,
        "note": view.note,
    }


def _whom(view: pb.Whom) -> shape.Shape:
    return {"node": view.node or None, "selector": dict(view.selector)}


# --- options that several verbs share ---


def note_option(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --note."""
    return click.option("--note", default="", help="Why, for the record.")(command)


def resume_command(view: pb.LimitView) -> str:
    """What takes a pause back."""
    lane = f" {view.model}@{view.channel}" if view.model else ""
    return f"modelsyncctl resume{lane} {whom.typed(view.whom)}"


def reached(nodes: Sequence[str]) -> str:
    """How many nodes something reaches now."""
    return count(len(nodes), "node") if nodes else "no node yet"
