"""Who is online at the hub: the newest session wins, and a flag never becomes a queue."""

from __future__ import annotations

import asyncio

from cloud_hub.presence import Live, Newest, Presence
from modelsyncd.errors import ModelsyncError, RefusedError


def _live(node: str, cuts: list[ModelsyncError]) -> Live:
    return Live(node, cuts.append)


def test_a_newer_session_of_a_node_cuts_the_older_one_and_keeps_the_place() -> None:
    presence = Presence()
    first_cuts: list[ModelsyncError] = []
    second_cuts: list[ModelsyncError] = []
    first, second = presence.enter(_live("n1", first_cuts)), presence.enter(_live("n1", second_cuts))
    first.__enter__()
    with second:
        assert isinstance(first_cuts[0], RefusedError)
        assert "another session" in first_cuts[0].message
        first.__exit__(None, None, None)  # the older one leaves later: it must not take the newer one's place away
        assert presence.online() == {"n1"}
        assert not second_cuts
    assert presence.online() == frozenset()


async def test_a_node_that_is_stirred_often_looks_once() -> None:
    presence = Presence()
    live = _live("n1", [])
    with presence.enter(live):
        for _ in range(1_000):
            presence.stir()
        assert await live.stirred.take()
        assert live.stirred.empty() is None


def test_only_the_named_nodes_are_stirred() -> None:
    presence = Presence()
    one, two = _live("n1", []), _live("n2", [])
    with presence.enter(one), presence.enter(two):
        presence.stir(["n2", "nobody"])
        assert one.stirred.empty() is None
        assert two.stirred.empty() is True


def test_cutting_reaches_the_node_named_and_nobody_else() -> None:
    presence = Presence()
    one: list[ModelsyncError] = []
    two: list[ModelsyncError] = []
    with presence.enter(_live("n1", one)), presence.enter(_live("n2", two)):
        presence.cut("n2", RefusedError("removed"))
        presence.cut("nobody", RefusedError("removed"))
        assert (len(one), len(two)) == (0, 1)


async def test_a_box_gives_the_newest_value_and_waits_for_the_next() -> None:
    box: Newest[int] = Newest()
    box.put(1)
    box.put(2)
    assert await box.take() == 2
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(box.take())
        await asyncio.sleep(0)
        box.put(3)
    assert waiting.result() == 3
