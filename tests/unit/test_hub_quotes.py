"""What a hub says that chunks will take holds when they are given, however the link turns out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cloud_hub.efforts import EFFORTS, PROMISES, Efforts
from cloud_hub.encoder import Encoder
from cloud_hub.offers import Offers
from cloud_hub.quotes import Quotes
from cloud_hub.rights import Right, anything
from modelsyncd.codec.profile import FAST_LINK, SLOW_LINK, Profile
from modelsyncd.codec.registry import NEEDS_BASE, READABLE, Codec
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import BadInputError, DamageError, RefusedError
from modelsyncd.manners import Manners
from modelsyncd.names import parse_model
from modelsyncd.plan import Priced
from modelsyncd.release import SignedRelease
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Assignment, Desired, Offer, Part
from tests.fakes.hub_store import HubStore, hub_store, push, spoil
from tests.fakes.publisher import STEP, Publication, numbers, publication, trained

CHUNKS = 24
OLD = numbers(1, CHUNKS * STEP // 4 - 3)
NEW = trained(OLD, 2)

Pair = tuple[Publication, Publication]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStore]:
    store = hub_store(tmp_path)
    yield store
    store.close()


@pytest.fixture
async def pair(hub: HubStore) -> Pair:
    old = publication({"model.bin": OLD}, channel="stable", dtype="f32")
    new = publication({"model.bin": NEW}, number=2, channel="stable", dtype="f32")
    await push(hub.intake(), old)
    await push(hub.intake(), new)
    return old, new


class Side:
    """The hub's side of one session: it quotes and gives."""

    def __init__(self, hub: HubStore, pair: Pair, right: Right = anything, step: float = 0.0) -> None:
        self.now = 0.0
        self._step = step
        self._old, self._new = pair
        self.encoder = hub.encoder()
        efforts = Efforts(EFFORTS["auto"])
        self.quotes = Quotes(hub.stock, self.encoder, lambda: right, efforts, clock=self._clock)
        self.offers = Offers(hub.stock, self.encoder, right, efforts)

    def _clock(self) -> float:
        self.now += self._step
        return self.now

    async def said(
        self, rate: float = 0.0, codecs: frozenset[Codec] = READABLE, ordinals: Sequence[int] = range(CHUNKS)
    ) -> list[Priced]:
        asked = self.quotes.price(self._new.manifest, ordinals, codecs, [self._old.manifest], rate=rate)
        return [priced async for priced in asked]

    async def given(self, rate: float = 0.0) -> Sequence[Encoded]:
        wanted = self._new.manifest, Part.CONTENT, range(CHUNKS), READABLE
        return await self.offers.load(*wanted, [self._old.manifest], rate=rate)


def wire(chunks: Sequence[Encoded]) -> int:
    return sum(len(chunk.payload) for chunk in chunks)


@pytest.mark.parametrize(
    ("then", "now"), [(0.0, FAST_LINK), (SLOW_LINK, FAST_LINK), (0.0, SLOW_LINK), (FAST_LINK, 1.0), (SLOW_LINK, 1.0)]
)
async def test_chunks_take_what_was_quoted_though_the_link_is_faster_or_slower_now(
    hub: HubStore, pair: Pair, then: float, now: float
) -> None:
    side = Side(hub, pair)
    last = (await side.said(then))[-1]
    coded = side.encoder.encodings
    given = await side.given(now)
    assert wire(given) == last.wire
    assert last.exact
    assert side.encoder.encodings == coded


async def test_another_session_is_promised_nothing(hub: HubStore, pair: Pair) -> None:
    await Side(hub, pair).said(0.0)
    given = await Side(hub, pair).given(FAST_LINK)
    assert all(chunk.base is None for chunk in given)


async def test_what_was_not_quoted_to_the_end_follows_the_link(hub: HubStore, pair: Pair) -> None:
    side = Side(hub, pair)
    asked = side.quotes.price(pair[1].manifest, range(CHUNKS), READABLE, [pair[0].manifest])
    assert not (await anext(asked)).exact
    await asked.aclose()
    assert all(chunk.base is None for chunk in await side.given(FAST_LINK))


async def test_on_a_fast_link_one_word_says_all_and_nothing_is_read_or_coded(
    hub: HubStore, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("rows say it")

    monkeypatch.setattr(Encoder, "encode", read)
    (last,) = await Side(hub, pair).said(FAST_LINK)
    assert (last.exact, last.coded, last.alone) == (True, 0, len(NEW))


async def test_a_peer_that_can_not_decode_what_rests_is_quoted_what_it_will_get(hub: HubStore, pair: Pair) -> None:
    side, plain = Side(hub, pair), frozenset({Codec.STORED})
    last = (await side.said(0.0, plain))[-1]
    assert (last.alone_wire, last.coded) == (len(NEW), 0)
    assert (await side.said(0.0, READABLE - NEEDS_BASE))[-1].alone_wire < len(NEW)


async def test_words_come_no_faster_than_one_a_second_and_the_last_is_never_kept_back(
    hub: HubStore, pair: Pair
) -> None:
    slow, quick = Side(hub, pair, step=10.0), Side(hub, pair)
    assert len(await slow.said()) == 1 + CHUNKS // 8
    said = await quick.said(SLOW_LINK)
    assert [priced.exact for priced in said] in ([True], [False, True])


@pytest.mark.parametrize("profile", [Profile.SMALLEST, Profile.FAST, Profile.PLAIN])
async def test_what_rows_foretell_is_what_is_given_chunk_by_chunk(hub: HubStore, pair: Pair, profile: Profile) -> None:
    half = CHUNKS // 2 * STEP
    mixed = publication(
        {"model.bin": NEW[:half] + numbers(77, (len(NEW) - half) // 4 + 1)[: len(NEW) - half], "small.bin": b"x" * 300},
        number=3,
        dtype="f32",
    )
    await push(hub.intake(), mixed)
    encoder, bases = hub.encoder(), [pair[0].manifest]
    asked = mixed.manifest, range(len(mixed.chunks)), bases, READABLE, profile
    before = {one.ordinal: one for one in encoder.foresee(*asked)}
    given = encoder.encode(*asked)
    after = {one.ordinal: one for one in encoder.foresee(*asked)}
    assert len(after) == len(mixed.chunks)
    assert len(before) < len(after) or profile is Profile.PLAIN
    assert before.items() <= after.items()
    for chunk in given:
        told = after[chunk.ordinal]
        base = chunk.base.manifest if chunk.base else None
        assert (told.size, told.base) == (len(chunk.payload), base)
        assert told.runs == (len(chunk.base.runs) if chunk.base else 0)
    assert {chunk.base is None for chunk in given} == ({True} if profile is Profile.PLAIN else {True, False})


async def test_only_the_chunks_that_were_asked_about_are_counted(hub: HubStore, pair: Pair) -> None:
    side = Side(hub, pair)
    last = (await side.said(ordinals=[3, 1]))[-1]
    assert last.plain == len(pair[1].chunks[1]) + len(pair[1].chunks[3])
    assert side.encoder.encodings == 2
    with pytest.raises(BadInputError, match="no chunk 24"):
        await side.said(ordinals=[CHUNKS])


async def test_a_right_that_ends_while_it_is_worked_out_ends_the_answer(hub: HubStore, pair: Pair) -> None:
    class Ending:
        def __init__(self) -> None:
            self.left = 4

        def __call__(self, manifest: Digest) -> None:
            self.left -= 1
            if self.left < 0:
                raise RefusedError("no longer")

        def bases(self, named: Sequence[Digest]) -> Sequence[Digest]:
            return named

    side = Side(hub, pair, Ending())
    with pytest.raises(RefusedError, match="no longer"):
        await side.said()
    assert side.encoder.encodings < CHUNKS


async def test_a_damaged_chunk_is_told_instead_of_a_price(hub: HubStore, pair: Pair, tmp_path: Path) -> None:
    spoil(hub.catalog, tmp_path, pair[1].chunks[5])
    with pytest.raises(DamageError):
        await Side(hub, pair).said()


def test_promises_are_bounded() -> None:
    efforts = Efforts(EFFORTS["auto"])
    names = [digest_of(bytes([number % 256, number // 256])) for number in range(PROMISES + 1)]
    for name in names:
        efforts.promise(name, Profile.SMALLEST)
    assert efforts.of(names[0], FAST_LINK) is Profile.PLAIN
    assert efforts.of(names[1], FAST_LINK) is Profile.SMALLEST


@pytest.mark.parametrize(
    ("overall", "own", "profile"),
    [
        (Manners(), Manners(), Profile.PLAIN),
        (Manners(rate=1_000), Manners(), Profile.SMALLEST),
        (Manners(), Manners(rate=int(SLOW_LINK)), Profile.FAST),
        (Manners(month_bytes=1 << 40), Manners(), Profile.SMALLEST),
        (Manners(), Manners(month_bytes=1 << 40), Profile.SMALLEST),
        (Manners(paused=True, background=True), Manners(), Profile.PLAIN),
    ],
)
def test_a_fast_link_that_may_not_be_used_as_one_is_coded_for_as_a_slow_one(
    overall: Manners, own: Manners, profile: Profile
) -> None:
    efforts, manifest = Efforts(EFFORTS["auto"]), digest_of(b"m")
    offer = Offer(SignedRelease(b"r"), manifest)
    efforts.heed(Desired(1, (Assignment(parse_model("acme/helmet"), "stable", offer, manners=own),), manners=overall))
    assert efforts.of(manifest, FAST_LINK) is profile
    assert efforts.of(digest_of(b"other"), FAST_LINK) is (profile if own == Manners() else Profile.PLAIN)
    told = Efforts(EFFORTS["plain"])
    told.heed(Desired(1, (), manners=overall))
    assert told.of(manifest, 0.0) is Profile.PLAIN


async def test_a_question_about_more_chunks_than_there_are_is_refused_before_one_is_looked_at(
    hub: HubStore, pair: Pair
) -> None:
    with pytest.raises(BadInputError, match="were named"):
        await Side(hub, pair).said(ordinals=range(1 << 31))


async def test_a_question_without_the_right_to_read_is_refused_before_anything_is_counted(
    hub: HubStore, pair: Pair
) -> None:
    def nothing(manifest: Digest) -> None:
        raise RefusedError("not yours")

    with pytest.raises(RefusedError, match="not yours"):
        await Side(hub, pair, nothing).said(ordinals=range(1 << 31))  # type: ignore[arg-type]
