"""Whatever somebody posts: a report or a reason, never anything else; and what follows from it can be written down."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from edge_agent.sedna.deeds import Known, Pair, Publish, Record, deeds
from edge_agent.sedna.jobs import understand
from edge_agent.sedna.reports import parse_report
from edge_agent.sedna.results import publishable
from edge_agent.sedna.settings import JobSettings
from modelsyncd.errors import BadInputError, ModelsyncError

JOB = understand("default/helmet", JobSettings("acme/helmet"), Path("/data"))
TEXT = some.text(some.characters(), max_size=20)  # with lone surrogates, which JSON can write
JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | TEXT | some.just("0.5"),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
RESULT = some.fixed_dictionaries({}, optional={"format": JSON, "url": TEXT | JSON, "metrics": JSON})
REPORT = some.fixed_dictionaries(
    {
        "name": some.just("w"),
        "kind": some.sampled_from(["train", "eval", "deploy", "inference"]) | JSON,
        "status": some.sampled_from(["running", "completed", "failed"]) | JSON,
        "results": some.lists(RESULT, max_size=3) | JSON,
    },
    optional={"namespace": JSON, "ownerName": JSON, "ownerKind": JSON, "ownerInfo": JSON},
)


@given(some.binary(max_size=200))
def test_any_bytes_are_a_report_or_refused(raw: bytes) -> None:
    with pytest.raises(BadInputError):
        raise BadInputError(parse_report("w", raw).kind)


@given(REPORT, some.integers(0, 9), some.integers(0, 9))
def test_what_follows_from_any_report_can_be_written_down(said: object, serving: int, candidate: int) -> None:
    report = parse_report("w", json.dumps(said).encode())
    known = Known(serving=serving, candidate=candidate, loaded=serving, word="1-0123456789ab" if serving else "")
    for deed in deeds(JOB, report, known):
        told = [deed.old, deed.new] if isinstance(deed, Pair) else [deed] if isinstance(deed, Record | Publish) else []
        for one in told:
            assert all(name.encode() and isfinite(value) for name, value in one.metrics.items())
        if isinstance(deed, Publish):
            assert all(key.encode() and value.encode() for key, value in deed.labels.items())
            with pytest.raises(ModelsyncError):
                publishable(JOB, deed.url)  # nothing is allowed
