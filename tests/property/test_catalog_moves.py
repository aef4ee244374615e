"""A channel's past under any moves, against a plain stack."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud_hub.catalog import Catalog
from modelsyncd.errors import ConflictError
from modelsyncd.names import ModelRef, parse_model
from tests.fakes.releases import made

RELEASES = 4
BACK = 0


@pytest.fixture(scope="module")
def catalog() -> Iterator[Catalog]:
    with tempfile.TemporaryDirectory() as folder, Catalog.open(f"sqlite:///{Path(folder)}/catalog.db") as found:
        yield found


@given(st.lists(st.integers(BACK, RELEASES), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_a_rollback_takes_the_top_off_a_stack_that_other_moves_lay_on(catalog: Catalog, steps: list[int]) -> None:
    models = catalog.models
    name = parse_model(f"acme/m{len(models.list())}")
    for number in range(1, RELEASES + 1):
        what = made(number, f"content {number}", model=name)
        models.commit(what.signed, what.release, what.digest, channel=None, who="admin/ann", now=1.0)
    models.promote(ModelRef(name, number=1), "stable", who="admin/ann", note="", now=1.0)
    stack, moved = [1], 1
    for step in steps:
        if step != BACK:
            models.promote(ModelRef(name, number=step), "stable", who="admin/ann", note="", now=1.0)
            moved += step != stack[-1]
            stack += [step] if step != stack[-1] else []
        elif len(stack) > 1:
            stack.pop()
            moved += 1
            assert models.rollback(name, "stable", who="admin/ann", note="", now=1.0).to_number == stack[-1]
        else:
            with pytest.raises(ConflictError):
                models.rollback(name, "stable", who="admin/ann", note="", now=1.0)
        assert models.release(ModelRef(name, channel="stable")).number == stack[-1]
    assert len(models.history(name).moves) == moved
