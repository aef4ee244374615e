"""What jobs publish rests on the node: a whole copy under a name, or nothing."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from edge_agent.outbox.box import NodeOutbox
from edge_agent.outbox.numbers import BATCH, Kept, Numbers
from edge_agent.outbox.words import Done, Measured, Origin, Publication
from edge_agent.usage import Usage
from modelsyncd.codec.registry import READABLE
from modelsyncd.digest import digest_of
from modelsyncd.errors import (
    BadInputError,
    ConflictError,
    DiskFullError,
    LimitError,
    NotFoundError,
    RefusedError,
    RoadError,
    SourceChangedError,
)
from modelsyncd.manners import Manners
from modelsyncd.names import ModelRef, parse_model
from modelsyncd.schedule import parse_opening
from modelsyncd.session.effects import Finished
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import Desired, Offer, Part
from modelsyncd.session.progress import Progress
from modelsyncd.store.source import scan
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns
from modelsyncd.wire.nouns import encode_manifest
from tests.fakes.hub_of_words import HubOfWords

HELMET = parse_model("acme/helmet")


async def outbox(root: Path, room: Callable[[], int] | None = None) -> NodeOutbox:
    """The one that a node has after a start."""
    tree = EdgeTree(root, nouns)
    tree.prepare()
    made = NodeOutbox(root, tree, producer=lambda: "node/one", room=room)
    await made.load()
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    (folder / "labels").mkdir(parents=True)
    (folder / "model.bin").write_bytes(os.urandom(900_000))
    (folder / "labels" / "en.txt").write_text("helmet\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "empty").touch()
    return folder


def wanted(path: Path, channel: str = "", **labels: str) -> Publication:
    return Publication(path, HELMET, channel, labels=labels, metrics={"recall": 0.1 + 0.2}, note="ok", user="job")


async def test_a_copy_is_kept_whatever_becomes_of_the_original(tmp_path: Path, model: Path) -> None:
    name = digest_of(encode_manifest(scan(model).manifest))
    first = await outbox(tmp_path / "node")
    stored = await first.store(wanted(model, "stable", round="3"))
    assert (stored.manifest, stored.size, stored.known) == (name, 900_017, False)
    (model / "model.bin").write_bytes(b"something else")
    again = await outbox(tmp_path / "node")
    (item,) = again.items()
    assert (item.id, item.manifest, item.publication) == (stored.id, name, wanted(model, "stable", round="3"))
    content = tmp_path / "node" / "outbox" / stored.id / "content"
    assert digest_of(encode_manifest(scan(content).manifest)) == name
    assert [oct((content / each).stat().st_mode & 0o777) for each in ("run.sh", "model.bin")] == ["0o555", "0o444"]


async def test_the_same_content_for_the_same_model_waits_once(tmp_path: Path, model: Path) -> None:
    box = await outbox(tmp_path / "node")
    first = await box.store(wanted(model, "stable"))
    assert await box.store(wanted(model)) == replace(first, known=True)
    assert await box.store(wanted(model, "stable")) == replace(first, known=True)
    other = await box.store(wanted(model, "canary"))
    assert (other.known, [item.id for item in box.items()]) == (False, [first.id, other.id])
    assert len([path for path in (tmp_path / "node" / "outbox").iterdir() if path.is_dir()]) == 2


async def test_what_changes_while_it_is_copied_is_refused_and_leaves_nothing(tmp_path: Path, model: Path) -> None:
    box = await outbox(tmp_path / "node")

    def meddle(_done: int, _total: int) -> None:
        (model / "labels" / "en.txt").write_text("written to meanwhile\n")

    with pytest.raises(SourceChangedError):
        await box.store(wanted(model), meddle)
    assert (box.items(), list((tmp_path / "node" / "outbox").glob("*"))) == ([], [])


async def test_a_check_that_raises_keeps_nothing(tmp_path: Path, model: Path) -> None:
    box = await outbox(tmp_path / "node")

    def check() -> None:
        raise BadInputError("not yours")

    with pytest.raises(BadInputError, match="not yours"):
        await box.store(wanted(model), check=check)
    assert list((tmp_path / "node" / "outbox").iterdir()) == []


async def test_who_leaves_before_it_is_stored_gives_it_up(tmp_path: Path, model: Path) -> None:
    box = await outbox(tmp_path / "node")
    reading, left = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait(_done: int, _total: int) -> None:
        loop.call_soon_threadsafe(reading.set)
        assert left.wait(60)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        storing = group.create_task(box.store(wanted(model), wait))
        await reading.wait()
        storing.cancel()
        await asyncio.wait([storing])
        left.set()
    await asyncio.to_thread(box.taken)
    async with asyncio.timeout(60):
        while any((tmp_path / "node" / "outbox").iterdir()):
            await asyncio.to_thread(box.taken)
    assert box.items() == []


@pytest.mark.parametrize(("left", "error"), [(1_000, DiskFullError), (2_000_000, None)])
async def test_there_must_be_room_for_the_copy_before_it_is_made(
    tmp_path: Path, model: Path, left: int, error: type[Exception] | None
) -> None:
    box = await outbox(tmp_path / "node", room=lambda: left)
    if error is None:
        assert (await box.store(wanted(model))).size == 900_017
        return
    with pytest.raises(error, match="takes up to"):
        await box.store(wanted(model))
    assert list((tmp_path / "node" / "outbox").iterdir()) == []


async def test_a_parent_that_is_not_here_and_what_no_release_can_hold_are_refused(tmp_path: Path, model: Path) -> None:
    box = await outbox(tmp_path / "node")
    with pytest.raises(NotFoundError, match="acme/helmet@stable is not on this node"):
        await box.store(replace(wanted(model), parents=(Origin(ModelRef(HELMET, channel="stable")),)))
    with pytest.raises(LimitError):
        await box.store(replace(wanted(model), note="x" * 100_000))
    with pytest.raises(BadInputError, match="is no number"):
        await box.store(replace(wanted(model), metrics={"recall": float("nan")}))
    assert box.items() == []


async def test_what_is_withdrawn_is_gone_also_after_a_restart(tmp_path: Path, model: Path) -> None:
    box = await outbox(tmp_path / "node")
    stored = await box.store(wanted(model))
    assert box.withdraw(stored.id) is False
    with pytest.raises(NotFoundError):
        box.withdraw("000000000001")
    with pytest.raises(NotFoundError, match="taken out"):
        _ = [step async for step in box.follow(stored.id)]
    again = await outbox(tmp_path / "node")
    assert (again.items(), list((tmp_path / "node" / "outbox").iterdir())) == ([], [])


@pytest.mark.parametrize("harm", ["paper", "manifest", "content/model.bin"])
async def test_a_broken_item_is_named_and_holds_up_nothing(tmp_path: Path, model: Path, harm: str) -> None:
    box = await outbox(tmp_path / "node")
    broken = await box.store(wanted(model))
    (model / "model.bin").write_bytes(b"another")
    sound = await box.store(wanted(model))
    path = tmp_path / "node" / "outbox" / broken.id / harm
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    box, hub = await outbox(tmp_path / "node"), HubOfWords()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        run = group.create_task(box.run())
        hub.connect(box)
        while not any(offer.manifest == sound.manifest for offer in hub.offers):
            changed = box.changed
            for offer in list(hub.offers):
                if offer.manifest == broken.manifest:  # a real hub asks for its chunks
                    hub.offers.remove(offer)
                    with pytest.raises(SourceChangedError) as caught:
                        await _read_all(box, offer)
                    box.finished(Finished(offer.manifest, None, fault_of(caught.value), Progress()))
            await changed.wait()
        run.cancel()
    if harm == "paper":
        assert (tmp_path / "node" / "outbox" / f"{broken.id}.broken").is_dir()
        assert [item.id for item in box.items()] == [sound.id]
    else:
        item = box.items()[0]
        assert (item.id, item.refused, item.fault and item.fault.code) == (broken.id, True, "damage")


async def _read_all(box: NodeOutbox, offer: Offer) -> None:
    for ordinal in range(8):
        await box.giver.load(offer.manifest, Part.CONTENT, [ordinal], READABLE, ())


async def test_all_tries_of_an_item_are_one_wish_and_storing_it_again_is_another(tmp_path: Path, model: Path) -> None:
    hub = HubOfWords()
    seen: list[Offer] = []
    for _ in range(2):  # the first answer is lost with the agent
        box = await outbox(tmp_path / "node")
        if not seen:
            await box.store(wanted(model, channel="stable"))
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            run = group.create_task(box.run())
            hub.connect(box)
            await until(box, lambda: hub.offers)
            seen.append(hub.offers[0])
            if len(seen) == 1:
                hub.commit(hub.offers[0])
                hub.channels[HELMET, "stable"] = 0  # and somebody led the channel back
            else:
                hub.answer()
                await until(box, lambda box=box: not box.items())  # type: ignore[misc]
                await box.store(wanted(model, channel="stable"))
                await until(box, lambda: hub.offers)
                seen.append(hub.offers[0])
            run.cancel()
    assert seen[0].id == seen[1].id != seen[2].id
    assert len(seen[0].id) == 16
    assert hub.channels[HELMET, "stable"] == 0


async def test_who_takes_back_what_is_being_sent_is_told_that_the_hub_may_have_it(tmp_path: Path, model: Path) -> None:
    box, hub = await outbox(tmp_path / "node"), HubOfWords()
    stored = await box.store(wanted(model))
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        run = group.create_task(box.run())
        hub.connect(box)
        await until(box, lambda: hub.offers)
        assert box.withdraw(stored.id) is True
        with pytest.raises(NotFoundError, match="while it was sent") as caught:
            _ = [step async for step in box.follow(stored.id)]
        assert caught.value.hint == "whether the hub has it: modelsyncctl history acme/helmet"
        hub.answer()  # it had all of it
        assert box.items() == []
        again = await box.store(wanted(model))
        await until(box, lambda: hub.offers)
        hub.answer()
        assert isinstance([step async for step in box.follow(again.id)][-1], Done)
        run.cancel()


async def test_a_refused_item_raises_for_whoever_follows_and_waits_for_an_act(tmp_path: Path, model: Path) -> None:
    box, hub = await outbox(tmp_path / "node"), HubOfWords(barred={HELMET})
    stored = await box.store(wanted(model))
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        run = group.create_task(box.run())
        hub.connect(box)
        await until(box, lambda: hub.offers)
        hub.answer()
        await until(box, lambda: box.items()[0].refused)
        with pytest.raises(RefusedError, match="no right"):
            _ = [step async for step in box.follow(stored.id)]
        assert "no right" in box.items()[0].sending.waits
        hub.barred.clear()
        box.heed(Desired(1, ()))
        await until(box, lambda: hub.offers)
        hub.answer()
        done = [step async for step in box.follow(stored.id)][-1]
        assert (done.number, done.created) == (1, True) if isinstance(done, Done) else False
        with pytest.raises(ConflictError, match="acme/helmet:1"):
            box.withdraw(stored.id)
        run.cancel()


@pytest.mark.parametrize(
    ("manners", "why"),
    [
        (Manners(paused=True), "paused"),
        (Manners(month_bytes=100), "this month"),
        (Manners(openings=(parse_opening("tue 01:00-02:00"),)), "outside the node's hours, which begin at Tue 01:00"),
    ],
)
async def test_nothing_is_offered_or_given_against_what_the_hub_said(
    tmp_path: Path, model: Path, manners: Manners, why: str
) -> None:
    usage = Usage()
    tree = EdgeTree(tmp_path / "node", nouns)
    tree.prepare()
    box = NodeOutbox(
        tmp_path / "node", tree, producer=lambda: "node/one", usage=usage, wall=lambda: 4 * 86_400.0, zone=UTC
    )
    await box.load()
    usage.count("1970-01", 100)
    await box.store(wanted(model))
    hub = HubOfWords()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        run = group.create_task(box.run())
        box.heed(Desired(1, (), manners=manners))
        hub.connect(box)
        await until(box, lambda: why in box.items()[0].sending.waits)
        assert hub.offers == []
        box.heed(Desired(2, ()))
        await until(box, lambda: hub.offers)
        box.heed(Desired(3, (), manners=manners))
        with pytest.raises(RoadError, match=why.partition(",")[0]):
            await _read_all(box, hub.offers[0])
        run.cancel()


async def test_numbers_wait_in_order_over_restarts_and_a_torn_line_counts_as_never_recorded(tmp_path: Path) -> None:
    box = await outbox(tmp_path / "node")
    await box.record([Measured(HELMET, 1, "recall", value, at=5.0) for value in (0.1, 0.2)])
    spool = tmp_path / "node" / "outbox" / "numbers"
    spool.write_bytes(spool.read_bytes() + b"0123 torn")
    box = await outbox(tmp_path / "node")
    assert box.records == 2
    await box.record([Measured(HELMET, 1, "recall", 0.3, at=6.0)])
    kept = Numbers(spool)
    kept.load()
    assert [one.measured.value for one in kept.first()] == [0.1, 0.2, 0.3]
    assert len({one.key for one in kept.first()}) == 3
    with pytest.raises(BadInputError):
        await box.record([Measured(HELMET, 0, "recall", 0.3)])


def test_a_batch_of_numbers_ends_where_those_of_one_moment_do(tmp_path: Path) -> None:
    kept = Numbers(tmp_path / "numbers")
    kept.add([Measured(HELMET, 1, "recall", 0.5, at=float(moment)) for moment in range(BATCH - 1)])
    evaluated = [Measured(HELMET, number, "recall", 0.9, at=5e9) for number in (1, 2)]
    kept.add(evaluated)
    assert len(kept.first()) == BATCH - 1
    kept.drop(kept.first())
    assert [one.measured for one in kept.first()] == evaluated
    kept.drop(kept.first())
    kept.add([Measured(HELMET, 1, "recall", 0.5, at=6e9)] * (BATCH + 1))
    assert len(kept.first()) == BATCH  # more than the hub takes at once


async def test_numbers_go_when_the_hub_has_said_what_became_of_them(tmp_path: Path) -> None:
    tree = EdgeTree(tmp_path / "node", nouns)
    tree.prepare()
    came: list[Kept] = []

    async def hand(numbers: Sequence[Kept]) -> Sequence[str]:
        came.extend(numbers)
        if len(came) == 3:
            raise RoadError("the answer was lost")
        return ["one of them is of a release that does not exist"]

    box = NodeOutbox(tmp_path / "node", tree, producer=lambda: "node/one", hand=hand, jitter=lambda: 0.0)
    await box.load()
    await box.record([Measured(HELMET, 1, "recall", value, at=5.0) for value in (0.1, 0.2, 0.3)])
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        run = group.create_task(box.run())
        HubOfWords().connect(box)
        while box.records:
            await asyncio.to_thread(box.taken)
        run.cancel()
    assert [one.key for one in came[:3]] == [one.key for one in came[3:]]


async def until(box: NodeOutbox, condition: Callable[[], object]) -> None:
    while True:
        changed = box.changed
        if condition():
            return
        await changed.wait()
