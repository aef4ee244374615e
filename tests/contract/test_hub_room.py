"""A push that does not fit is refused before its first byte, also when only another push makes it not fit."""

from __future__ import annotations

import gc
import shutil
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path

import pytest

from cloud_hub.commit import HubIntake
from cloud_hub.stock import RESERVE
from modelsyncd.errors import DiskFullError
from modelsyncd.session.frames import Part
from tests.fakes.hub_store import HubStore, bring, hub_store, push
from tests.fakes.publisher import STEP, Publication, publication, weights

SIZE = 8 * STEP
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def hub(tmp_path: Path) -> HubStore:
    return hub_store(tmp_path)


def leave(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """The disk has so many bytes free beyond the reserve."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free + RESERVE))


async def let_in(hub: HubStore, number: int, name: str) -> tuple[object, object]:
    what = publication({"model.bin": weights(number, SIZE)}, model=f"acme/{name}")
    intake = hub.intake()
    await survey(intake, what)
    return intake, what


async def survey(intake: HubIntake, what: Publication) -> Sequence[int]:
    """Brings the manifest if it is not there; the content's missing ordinals."""
    missing = (await intake.survey(what.offer, Part.MANIFEST)).ordinals
    if missing:
        await bring(intake, what, Part.MANIFEST, missing)
    return (await intake.survey(what.offer, Part.CONTENT)).ordinals


async def test_what_is_promised_to_one_push_is_not_promised_to_another(
    hub: HubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(monkeypatch, int(1.5 * SIZE))
    first = await let_in(hub, 1, "helmet")
    with pytest.raises(DiskFullError) as caught:
        await let_in(hub, 2, "vest")
    assert f"{SIZE} bytes are to come" in caught.value.message
    assert f"{SIZE} of them promised to other pushes" in caught.value.message
    assert "nothing was sent" in caught.value.safe
    del first
    gc.collect()
    await let_in(hub, 2, "vest")  # the first session is gone, and what it was promised with it
    hub.close()


async def test_a_push_counts_with_what_it_still_has_to_bring(hub: HubStore, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(monkeypatch, int(1.5 * SIZE))
    what = publication({"model.bin": weights(1, SIZE)}, model="acme/helmet")
    intake = hub.intake()
    missing = await survey(intake, what)
    await bring(intake, what, Part.CONTENT, missing[:6])
    leave(monkeypatch, int(1.3 * SIZE))  # the disk has less now, and the first push needs a quarter of it
    second = await let_in(hub, 2, "vest")
    assert second
    await bring(intake, what, Part.CONTENT, missing[6:])
    await intake.complete(what.offer)
    hub.close()


async def test_a_push_that_goes_on_needs_its_room_once(hub: HubStore, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(monkeypatch, int(1.2 * SIZE))
    what = publication({"model.bin": weights(1, SIZE)}, model="acme/helmet")
    intake = hub.intake()
    for _ in range(3):
        await survey(intake, what)
    settled = await push(intake, what)
    assert settled.created
    other = publication({"model.bin": weights(2, SIZE)}, model="acme/vest")
    assert (await push(hub.intake(), other)).created
    hub.close()
