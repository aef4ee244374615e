"""What can be looked at on the way to a hub, and at the hub: reach, round trip, clocks, versions, and its machine."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from modelsyncd import __version__
from modelsyncd.ctl.checks import Check, State, wrong
from modelsyncd.ctl.checks_here import LITTLE, LOW
from modelsyncd.ctl.figures import count, size
from modelsyncd.errors import ConflictError, DiskFullError, ModelsyncError, RoadError
from modelsyncd.link import sockets
from modelsyncd.link.address import split
from modelsyncd.link.congestion import answers_loss_well
from modelsyncd.wire.v1 import doctor_pb2 as pb

PATIENCE = 10.0  # seconds for a bare connection
ROUNDS = 5  # questions, of which the fastest tells the round trip
CLOCK_NOTE, CLOCK_WRONG = 2.0, 300.0  # seconds between two clocks: worth a word; certificates and windows are off

Ask = Callable[[], Awaitable[pb.ExamineResponse | None]]
"""One question to the hub; None from one that only greets. Raises ModelsyncError."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The fastest of some questions, times by this machine's clock."""

    first: float
    """Seconds until the first answer: connection, handshake and question."""
    took: float
    """Seconds that the fastest took."""
    middle: float
    """Seconds since 1970-01-01 UTC in the middle of it."""
    answer: pb.ExamineResponse | None


async def there(address: str, ask: Ask) -> AsyncIterator[Check]:
    """All of it, as far as it goes: what can't be reached can't be asked."""
    reached = await reach(address)
    yield reached
    if reached.state is State.WRONG:
        return
    try:
        asked = await several(ask)
    except ModelsyncError as error:
        yield wrong("handshake", error)
        return
    yield Check(
        "handshake",
        State.WELL,
        f"the hub knows us; its first answer came after {asked.first * 1e3:.0f} ms",
        facts=(("seconds", asked.first),),
    )
    yield round_trip(asked)
    for way in path(address):
        yield way
    if asked.answer is not None:
        for one in at_the_hub(asked.answer, asked.middle, asked.took):
            yield one


async def reach(address: str) -> Check:
    """A bare TCP connection."""
    host, port = split(address)
    began = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        hint = "is this its address, and does every firewall on the way let TCP through?"
        return wrong("reach", RoadError(f"{address} did not answer within {PATIENCE:.0f} seconds", hint=hint))
    except socket.gaierror as error:
        return wrong("reach", RoadError(f"the name {host} can't be found: {error.strerror}", hint="is it right?"))
    except OSError as error:
        hint = "is the hub running, and is this its address?"
        return wrong("reach", RoadError(f"can't connect to {address}: {error.strerror or error}", hint=hint))
    took = time.monotonic() - began
    peer = writer.get_extra_info("peername")[0]
    writer.transport.abort()
    return Check(
        "reach", State.WELL, f"{address} ({peer}) answers after {took * 1e3:.0f} ms", facts=(("seconds", took),)
    )


async def several(ask: Ask) -> Asked:
    """Asks some times. Raises ModelsyncError."""
    found: list[Asked] = []
    for _ in range(ROUNDS):
        sent, began = time.time(), time.monotonic()
        answer = await ask()
        took = time.monotonic() - began
        first = found[0].took if found else took
        found.append(Asked(first, took, sent + took / 2, answer))
    return min(found[1:], key=lambda one: one.took)


def round_trip(asked: Asked) -> Check:
    """What a question and its answer take once there is a connection."""
    says = f"a question and its answer take {asked.took * 1e3:.1f} ms"
    return Check("round-trip", State.WELL, says, facts=(("seconds", asked.took),))


def path(address: str) -> Iterator[Check]:
    """What the kernel knows of our connection to the hub."""
    _, port = split(address)
    for one in sockets.outgoing():
        way = sockets.way_of(one) if one.getpeername()[1] == port else None
        if way is None:
            continue
        says = f"packets of up to {way.path_bytes} bytes, {way.resent} of {way.segments} sent again"
        facts = (("mtu", way.path_bytes), ("segments", way.segments), ("resent", way.resent))
        yield Check("path", State.WELL, says, facts=(*facts, ("round_trip", way.round_trip)))
        return


def at_the_hub(answer: pb.ExamineResponse, middle: float, took: float) -> Iterator[Check]:
    """What it said of itself. `middle` is this machine's clock when the hub's was read, within `took` seconds."""
    yield clock(answer.at - middle, took)
    yield version(answer)
    yield congestion(answer)
    yield disk(answer)


def clock(ahead: float, took: float) -> Check:
    """The hub's clock against this machine's."""
    off = max(0.0, abs(ahead) - took / 2)
    facts: dict[str, object] = {"ahead": ahead, "unsure": took / 2}
    if off < CLOCK_NOTE:
        return Check("clock", State.WELL, "this clock and the hub's agree", facts=tuple(facts.items()))
    side = "ahead of" if ahead > 0 else "behind"
    says = f"the hub's clock is {abs(ahead):.0f} seconds {side} this one"
    hint = "set the wrong one: timedatectl set-ntp true"
    if off < CLOCK_WRONG:
        return Check("clock", State.COULD_BE_BETTER, says, (hint,), tuple(facts.items()))
    return wrong("clock", ConflictError(says, hint=hint), **facts)


def version(answer: pb.ExamineResponse) -> Check:
    """The hub's software against this one's."""
    same = answer.software.split()[-1:] == [__version__]
    says = f"{answer.software} on {answer.system}, {count(answer.nodes_online, 'node')} online"
    facts = (("software", answer.software), ("system", answer.system), ("nodes_online", answer.nodes_online))
    if same:
        return Check("hub", State.WELL, says, facts=facts)
    advice = (f"this is {__version__}: bring both to the same version, the hub first",)
    return Check("hub", State.COULD_BE_BETTER, says, advice, facts)


def congestion(answer: pb.ExamineResponse) -> Check:
    """How TCP answers loss on what the hub sends."""
    facts = (("congestion", answer.congestion), ("problem", answer.congestion_problem))
    if not answer.congestion:
        return Check("hub-congestion", State.UNKNOWN, "the hub's kernel does not say how TCP answers loss", facts=facts)
    says = f"what the hub sends answers loss by {answer.congestion}"
    if answers_loss_well(answer.congestion):
        return Check("hub-congestion", State.WELL, f"{says}: well", facts=facts)
    more = f" ({answer.congestion_problem})" if answer.congestion_problem else ""
    advice = tuple(f"on the hub: {line}" for line in answer.congestion_advice)
    says = f"{says}: links that lose packets will be slow{more}"
    return Check("hub-congestion", State.COULD_BE_BETTER, says, advice, facts)


def disk(answer: pb.ExamineResponse) -> Check:
    """Room at the hub."""
    says = f"{size(answer.disk_free)} of {size(answer.disk_size)} free at the hub"
    facts: dict[str, object] = {"free": answer.disk_free, "size": answer.disk_size}
    if answer.disk_free < LITTLE:
        return wrong("hub-disk", DiskFullError(says, hint="make room there: nothing can be pushed"), **facts)
    state = State.WELL if answer.disk_free >= LOW else State.COULD_BE_BETTER
    return Check("hub-disk", state, says, facts=tuple(facts.items()))
