"""Hearing of releases and switches over links that end: each is told once, whatever the hub says again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import cast

import pytest

from modelsyncd.errors import NotFoundError
from modelsyncd.exchange import news, past
from modelsyncd.exchange.hub import Hub
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.wire.v1 import catalog_pb2 as pb

MODEL = ModelName("acme", "helmet")


class Link:
    """One call of WatchEvents: some events, then its end."""

    def __init__(self, events: list[pb.WatchEventsResponse]) -> None:
        self._events = events

    async def initial_metadata(self) -> None:
        """At once."""

    async def __aiter__(self) -> AsyncIterator[pb.WatchEventsResponse]:
        for event in self._events:
            yield event

    def cancel(self) -> None:
        """Nothing to end."""


class FakeHub:
    """A hub with releases up to `newest`, and links that each bring some events."""

    def __init__(self, newest: int, links: list[list[pb.WatchEventsResponse]], *, paged: bool = True) -> None:
        self.newest = newest
        self.pages = 0
        self._links = iter(links)
        self._paged = paged
        calls = {"GetHistory": self._history, "WatchEvents": lambda _request: Link(next(self._links, []))}
        self.catalog = SimpleNamespace(**calls)

    async def ask(self, method: Callable[..., Awaitable[pb.GetHistoryResponse]], request: object) -> object:
        return await method(request)

    async def _history(self, request: pb.GetHistoryRequest) -> pb.GetHistoryResponse:
        self.pages += 1
        highest = int(request.page_token or self.newest)
        lowest = max(0, highest - request.page_size) if self._paged else 0
        found = [view(number) for number in range(highest, lowest, -1)]
        return pb.GetHistoryResponse(releases=found, next_page_token=str(lowest or ""))

    @contextmanager
    def road(self, _unsure: str) -> Iterator[None]:
        yield

    async def release(self, ref: str) -> pb.ReleaseView:
        number = int(ref.partition(":")[2] or self.newest)
        if not 0 < number <= self.newest:
            raise NotFoundError(ref)
        return view(number)


def view(number: int) -> pb.ReleaseView:
    found = pb.ReleaseView(model=str(MODEL), number=number)
    found.signed.release = b"release %d" % number
    return found


def released(number: int) -> pb.WatchEventsResponse:
    return pb.WatchEventsResponse(released=view(number))


def moved(channel: str) -> pb.WatchEventsResponse:
    return pb.WatchEventsResponse(moved=pb.ChannelMoved(model=str(MODEL), move=pb.Move(channel=channel)))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pause(_seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr("modelsyncd.link.network.pause", pause)


async def told(steps: AsyncIterator[pb.ReleaseView], seconds: float = 0.3) -> list[int]:
    found = []
    try:
        async with asyncio.timeout(seconds):
            async for step in steps:
                found.append(step.number)  # noqa: PERF401 -- kept when the time is over
    except TimeoutError:
        pass
    return found


async def test_a_release_that_is_heard_of_again_is_not_told_again() -> None:
    hub = FakeHub(3, [[released(2), released(3)], [released(3)], []])
    assert await told(news.releases(cast("Hub", hub), MODEL, after=1)) == [2, 3]


async def test_releases_of_which_no_event_came_are_told_before_the_one_that_was_heard_of() -> None:
    hub = FakeHub(1, [[released(5)]])
    steps = news.releases(cast("Hub", hub), MODEL, after=0)
    assert (await anext(steps)).number == 1
    hub.newest = 5
    assert await told(steps) == [2, 3, 4, 5]


@pytest.mark.parametrize("size", [7, 20, 500])
async def test_of_many_releases_those_that_are_new_are_told_in_order_from_as_few_pages_as_it_takes(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    hub = FakeHub(60, [[]])
    monkeypatch.setattr(past, "PAGE", size)
    found = await told(news.releases(cast("Hub", hub), MODEL, after=25))
    assert found == list(range(26, 61))
    assert hub.pages == -(-36 // size)


async def test_a_hub_of_before_tells_of_many_releases_at_once() -> None:
    hub = FakeHub(60, [[]], paged=False)
    assert await told(news.releases(cast("Hub", hub), MODEL, after=0)) == list(range(1, 61))


async def test_a_channel_that_is_moved_to_where_it_was_is_not_told_again() -> None:
    hub = FakeHub(3, [[moved("stable"), moved("canary")], [moved("stable")], []])
    assert await told(news.switches(cast("Hub", hub), ModelRef(MODEL, channel="stable"))) == [3]
