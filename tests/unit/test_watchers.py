"""Watchers are told of the newest switch, never block anybody, and are forgotten when they leave."""

import asyncio
from pathlib import Path

from edge_agent.watchers import Active, Switch, Watch, Watchers
from modelsyncd.digest import digest_of
from modelsyncd.names import ModelName, ModelRef

HELMET = ModelRef(ModelName("acme", "helmet"), channel="stable")
VEST = ModelRef(ModelName("acme", "vest"), channel="stable")


def switch(number: int, previous: int, ref: ModelRef = HELMET) -> Switch:
    name = digest_of(b"%d" % number)
    return Switch(Active(ref, number, name, name, Path(f"/v/{number}"), Path("/v/stable")), previous)


async def first(watch: Watch) -> Switch:
    return await anext(aiter(watch))


async def test_a_watcher_sees_each_switch_of_its_channel_and_no_other() -> None:
    watchers = Watchers()
    with watchers.watch(HELMET) as watch:
        switches = aiter(watch)
        watchers.tell(switch(1, 0))
        watchers.tell(switch(7, 0, VEST))
        assert await anext(switches) == switch(1, 0)
        watchers.tell(switch(2, 1))
        assert await anext(switches) == switch(2, 1)


async def test_missed_switches_melt_into_the_newest_one_which_says_what_was_seen_before() -> None:
    watchers = Watchers()
    with watchers.watch(HELMET) as watch:
        for number in range(1, 1_001):
            watchers.tell(switch(number, number - 1))
        switches = aiter(watch)
        assert await anext(switches) == switch(1_000, 0)
        watchers.tell(switch(1_001, 1_000))
        assert await anext(switches) == switch(1_001, 1_000)


async def test_a_watcher_of_all_gets_the_newest_of_each_channel() -> None:
    watchers = Watchers()
    with watchers.watch(None) as watch:
        watchers.tell(switch(1, 0))
        watchers.tell(switch(5, 4, VEST))
        watchers.tell(switch(2, 1))
        switches = aiter(watch)
        got = [await anext(switches), await anext(switches)]
        assert {str(one.active.ref): one.active.number for one in got} == {str(HELMET): 2, str(VEST): 5}


async def test_a_waiting_watcher_is_woken_by_a_switch() -> None:
    watchers = Watchers()
    with watchers.watch(HELMET) as watch:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            waiting = group.create_task(first(watch))
            await asyncio.sleep(0)
            watchers.tell(switch(1, 0))
        assert waiting.result() == switch(1, 0)


async def test_a_watcher_that_left_is_forgotten() -> None:
    watchers = Watchers()
    with watchers.watch(HELMET):
        assert len(watchers) == 1
    assert len(watchers) == 0
    watchers.tell(switch(1, 0))
