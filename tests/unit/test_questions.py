"""A question about what chunks take costs little before it is known whether there are such chunks, and runs once."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import AsyncGenerator, Collection, Sequence

import pytest

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import LimitError, ModelsyncError, ProtocolError, RefusedError
from modelsyncd.limits import LIMITS
from modelsyncd.link.pump import Pump
from modelsyncd.plan import Priced
from modelsyncd.session.effects import Price, Send
from modelsyncd.session.events import Worked
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import Ask, Frame, Part, Refuse, Want
from modelsyncd.session.giver import QUESTIONS, WAITING, Giver
from modelsyncd.session.session import Session
from tests.fakes.conversation import hello, some_content
from tests.fakes.wires import MemoryStock, wire_pair

NAME = digest_of(b"manifest")


def test_a_question_about_very_many_chunks_takes_no_memory_for_them() -> None:
    tracemalloc.start()
    try:
        (price,) = Giver().ask(Ask(NAME, (range(LIMITS.chunks),)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(price, Price)
    assert len(price.ordinals) == LIMITS.chunks
    assert peak < 100_000


def test_the_ordinals_of_a_question_come_in_order_whatever_the_order_of_its_runs() -> None:
    (price,) = Giver().ask(Ask(NAME, (range(5, 7), range(2))))
    assert isinstance(price, Price)
    assert list(price.ordinals) == [0, 1, 5, 6]
    assert 5 in price.ordinals
    assert 2 not in price.ordinals


def test_a_question_that_names_a_chunk_twice_is_refused() -> None:
    with pytest.raises(ProtocolError, match="twice"):
        Giver().ask(Ask(NAME, (range(5, 9), range(6))))


class Endless:
    """Never done with any question."""

    def __init__(self) -> None:
        self.running = self.begun = 0
        self.news = asyncio.Event()

    async def price(
        self,
        manifest: Digest,
        ordinals: Collection[int],
        codecs: frozenset[Codec],
        bases: Sequence[Digest],
        *,
        rate: float = 0.0,
    ) -> AsyncGenerator[Priced, None]:
        self.running += 1
        self.begun += 1
        self.news.set()
        try:
            await asyncio.Event().wait()
            yield Priced()
        finally:
            self.running -= 1
            self.news.set()

    async def until(self, running: int, begun: int = 0) -> None:
        async with asyncio.timeout(5):
            while (self.running, max(begun, self.begun)) != (running, self.begun):
                self.news.clear()
                await self.news.wait()


@pytest.mark.parametrize("last", ["want", "refuse"])
async def test_of_repeated_questions_one_is_worked_out_and_none_once_nobody_waits(last: str) -> None:
    content = some_content(random.Random(1), 3)
    ours, theirs = wire_pair(100)
    pricer = Endless()
    pump = Pump(Session(hello()), ours, giver=MemoryStock({content.name: content}), pricer=pricer)

    async def quietly() -> None:
        try:
            await pump.run()
        except ModelsyncError:
            return

    frames: dict[str, Frame] = {
        "want": Want(content.name, Part.CONTENT, (range(1),)),
        "refuse": Refuse(fault_of(RefusedError("enough")), content.name),
    }
    async with asyncio.TaskGroup() as group:
        running = group.create_task(quietly())
        await theirs.write(hello())
        for count in range(1, 6):
            await theirs.write(Ask(content.name, (range(3),)))
            await pricer.until(1, begun=count)
        await theirs.write(frames[last])
        await pricer.until(0)
        running.cancel()
    assert pricer.begun == 5


def _questions(giver: Giver, count: int) -> list[Price]:
    effects = [effect for number in range(count) for effect in giver.ask(Ask(_name(number), (range(1),)))]
    return [effect for effect in effects if isinstance(effect, Price)]


def _name(number: int) -> Digest:
    return digest_of(b"manifest %d" % number)


def test_questions_beyond_those_that_are_worked_out_wait_for_their_turn_in_order() -> None:
    giver = Giver()
    begun = _questions(giver, QUESTIONS + 2)
    assert [price.manifest for price in begun] == [_name(number) for number in range(QUESTIONS)]
    send, following = giver.worked(Worked(_name(3), begun[3].serial, Priced()))
    assert isinstance(send, Send)
    assert isinstance(following, Price)
    assert following.manifest == _name(QUESTIONS)
    assert giver.is_pricing(following.serial)
    (last,) = giver.drop(_name(4))
    assert isinstance(last, Price)
    assert last.manifest == _name(QUESTIONS + 1)


def test_a_question_that_is_dropped_while_it_waits_is_never_worked_out() -> None:
    giver = Giver()
    begun = _questions(giver, QUESTIONS + 1)
    assert giver.drop(_name(QUESTIONS)) == []
    (send,) = giver.worked(Worked(_name(0), begun[0].serial, Priced()))
    assert isinstance(send, Send)


def test_a_question_that_is_worked_out_may_be_asked_anew_however_many_wait() -> None:
    giver = Giver()
    _questions(giver, QUESTIONS + WAITING)
    (again,) = giver.ask(Ask(_name(0), (range(2),)))
    assert isinstance(again, Price)
    assert giver.is_pricing(again.serial)


def test_no_peer_makes_a_giver_remember_questions_without_end() -> None:
    with pytest.raises(LimitError, match="waiting"):
        _questions(Giver(), QUESTIONS + WAITING + 1)
