"""The words of docs/protocol.md on releases in several variants: each MUST is quoted by a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelsyncd.errors import NotFoundError
from modelsyncd.names import parse_ref
from modelsyncd.session.frames import PART_OF_IT
from tests.fakes.forms import Form, in_forms
from tests.fakes.hub_store import HubStore, hub_store, push
from tests.scenarios.words import quote

FORMS = {"fp32": Form(1), "int8": Form(2, {"arch": "arm64"})}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStore]:
    store = hub_store(tmp_path)
    store.catalog.nodes.invite("oslo", {"arch": "arm64"}, 2_000.0, 900.0)
    yield store
    store.close()


async def test_rule_47_a_release_begins_with_the_last_of_its_variants(hub: HubStore) -> None:
    quote(47, "A hub MUST commit a release only when every one of its variants is there whole.")
    one, other = in_forms(FORMS)
    assert (await push(hub.intake(), one)).number == PART_OF_IT
    with pytest.raises(NotFoundError):
        hub.catalog.models.release(parse_ref("acme/helmet"))
    assert (await push(hub.intake(), other)).number == 1
