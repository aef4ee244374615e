"""The hub's bus: order, choice, and what happens to a slow reader."""

from __future__ import annotations

import asyncio

import pytest

from cloud_hub.events import Bus, Event, Moved, NodeChanged, Released
from modelsyncd.errors import RefusedError
from modelsyncd.names import parse_model

HELMET = parse_model("acme/helmet")


async def test_a_subscriber_reads_events_in_the_order_they_happened() -> None:
    bus = Bus()
    told: list[Event] = [
        Released(1.0, HELMET, 1),
        Moved(1.0, HELMET, "stable", 0, 1, "admin/a", "push"),
        NodeChanged(2.0, "n1"),
    ]
    with bus.subscribe() as subscription:
        for event in told:
            bus.publish(event)
        assert [await subscription.next() for _ in told] == told


async def test_a_subscriber_reads_only_what_it_asked_for() -> None:
    bus = Bus()
    with bus.subscribe(lambda event: isinstance(event, NodeChanged)) as subscription:
        bus.publish(Released(1.0, HELMET, 1))
        bus.publish(NodeChanged(2.0, "n1"))
        assert await subscription.next() == NodeChanged(2.0, "n1")


async def test_a_slow_subscriber_is_dropped_with_words_and_holds_up_nobody() -> None:
    bus = Bus(queue=2)
    with bus.subscribe() as slow, bus.subscribe() as quick:
        for number in range(1, 5):
            bus.publish(Released(float(number), HELMET, number))
            event = await quick.next()
            assert isinstance(event, Released)
            assert event.number == number
        assert await slow.next() is not None
        assert await slow.next() is not None
        for _ in range(2):  # the end stays the end
            with pytest.raises(RefusedError, match="too slowly") as refused:
                await slow.next()
            assert refused.value.hint


async def test_closing_the_bus_ends_every_subscription_old_and_new() -> None:
    bus = Bus()
    with bus.subscribe() as before:
        bus.close()
        async with asyncio.timeout(5):
            assert await before.next() is None
    with bus.subscribe() as after:
        async with asyncio.timeout(5):
            assert await after.next() is None


async def test_a_subscription_that_ended_costs_nothing_more() -> None:
    bus = Bus()
    with bus.subscribe():
        pass
    assert not bus._subscriptions
