"""A node's extract answers as the language says, whatever was told; and what a hub tells of is what it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings

from cloud_hub.catalog import Catalog
from cloud_hub.catalog.search import parse_sort
from edge_agent.searching import find
from modelsyncd.query.judging import Value, holds
from modelsyncd.query.traits import Trait
from modelsyncd.query.words import And, Condition, Field
from modelsyncd.store.extract import Extract, KeptRelease
from tests.contract.databases import SQLITE, opened
from tests.contract.test_catalog_search import KEYS, MODELS, _random_traits, conditions, measured, publish

NAMES = [str(model) for model in MODELS]


@pytest.fixture
def extract(tmp_path: Path) -> Iterator[Extract]:
    found = Extract(tmp_path / "extract.db")
    yield found
    found.close()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(condition=conditions)
def test_a_node_finds_what_the_language_says(extract: Extract, condition: Condition) -> None:
    rng = Random(17)
    if not extract.marks():
        for name in NAMES:
            kept = [KeptRelease(number, float(number), "admin/ann", _random_traits(rng)) for number in range(1, 13)]
            extract.put(name, kept, anew=True)
            extract.mark(name, "m", {"stable": rng.randint(1, 12), "beta": 3})
    lines = {line.id: line for line in extract.lines(extract.everything(NAMES))}
    traits = {one: extract.traits(one, KEYS) for one in lines}

    def said(one: int) -> bool:
        def look(field: Field) -> Sequence[Value]:
            line = lines[one]
            match field.name:
                case "model":
                    return [line.model]
                case "number":
                    return [float(line.number)]
                case "channel":
                    return line.channels
                case _:
                    return [trait.value for trait in traits[one] if trait.key == field.name]

        return holds(condition, look)

    from edge_agent.searching import _matching  # noqa: PLC0415 - conditions that nobody could type

    among = extract.everything(NAMES)
    assert len(among) == 36
    assert _matching(extract, condition, among) == {one for one in lines if said(one)}


def tell(catalog: Catalog, extract: Extract) -> int:
    """As hub and node do it, without a wire; how many releases were told of."""
    told = 0
    extract.keep_only(set(NAMES))
    for model in MODELS:
        page = catalog.extracts.changes(model, extract.marks().get(str(model), ""))
        if page is None:
            continue
        rows = catalog.extracts.load(page.ids)
        told += len(rows)
        kept = [KeptRelease(row.number, row.committed_at, row.who, row.traits) for row in rows]
        extract.put(str(model), kept, anew=page.anew)
        extract.mark(str(model), page.mark, page.channels)
    return told


def known(extract: Extract) -> list[tuple[str, int, tuple[str, ...], list[Trait]]]:
    lines = extract.lines(extract.everything(NAMES))
    return sorted((line.model, line.number, line.channels, extract.traits(line.id, KEYS)) for line in lines)


def test_what_changed_is_told_once_and_the_extract_is_what_the_hub_has(extract: Extract, tmp_path: Path) -> None:
    rng = Random(23)
    with opened(SQLITE, tmp_path) as catalog:
        numbers = dict.fromkeys(MODELS, 0)
        for step in range(60):
            model = rng.choice(MODELS)
            if rng.random() < 0.6 or not numbers[model]:
                numbers[model] += 1
                channel = rng.choice(["", "stable"])
                publish(catalog, numbers[model], *_random_traits(rng), model=model, channel=channel)
                most = 1
            elif numbers[MODELS[0]]:
                number = rng.randint(1, numbers[MODELS[0]])
                catalog.numbers.add([measured(number, "p", float(step), at=float(step))])
                most = 1
            assert tell(catalog, extract) <= most
            assert tell(catalog, extract) == 0
            whole = Extract(tmp_path / f"whole{step}.db")
            tell(catalog, whole)
            assert known(extract) == known(whole)
            whole.close()


def test_a_telling_that_was_cut_off_is_told_again(extract: Extract, tmp_path: Path) -> None:
    with opened(SQLITE, tmp_path) as catalog:
        for number in range(1, 4):
            publish(catalog, number, Trait("format", "onnx"))
        tell(catalog, extract)
        publish(catalog, 4, Trait("format", "gguf"))
        extract.put("acme/helmet", [], anew=False)  # the first part came, and the mark did not
        assert tell(catalog, extract) == 4
        assert len(known(extract)) == 4


def test_what_is_not_followed_any_more_is_forgotten(extract: Extract, tmp_path: Path) -> None:
    with opened(SQLITE, tmp_path) as catalog:
        for model in MODELS:
            publish(catalog, 1, Trait("format", "onnx"), model=model)
        tell(catalog, extract)
    extract.keep_only({"acme/helmet"})
    assert [model for model, *_ in known(extract)] == ["acme/helmet"]


@pytest.mark.parametrize("sort", ["", "model", "-number", "size", "-size", "format", "-format", "-metrics.p"])
def test_a_node_sorts_as_its_hub_does(extract: Extract, tmp_path: Path, sort: str) -> None:
    rng = Random(sort)
    with opened(SQLITE, tmp_path) as catalog:
        for number in range(1, 10):
            for model in MODELS:
                publish(catalog, number, *_random_traits(rng), model=model)
        tell(catalog, extract)
        page = catalog.search.find(And(()), parse_sort(sort), limit=20)
        there = [(str(row.model), row.number, row.committed_at) for row in page.rows]
    answer = find(extract, "", sort, limit=20, fields=[], readable=NAMES, now=2_000.0)
    here = [(found.release.model, found.release.number, found.release.at) for found in answer.found]
    if sort in ("", "model"):  # equals come by when they were committed, which several of these share
        assert [at for *_, at in here] == [at for *_, at in there]
    else:
        values = page_values(extract, sort)
        assert [values.get(one[:2]) for one in here] == [values.get(one[:2]) for one in there]
    assert answer.total == 27


def page_values(extract: Extract, sort: str) -> dict[tuple[str, int], object]:
    """What each release is sorted by."""
    name = sort.removeprefix("-")
    best = max if sort.startswith("-") else min
    lines = extract.lines(extract.everything(NAMES))
    if name == "number":
        return {(line.model, line.number): line.number for line in lines}
    values = extract.values(name)
    return {(line.model, line.number): best(values[line.id]) for line in lines if line.id in values}


def test_only_what_may_be_read_is_found_and_an_answer_says_how_old_it_is(extract: Extract) -> None:
    for name in NAMES:
        extract.put(name, [KeptRelease(1, 5.0, "admin/ann", [Trait("size", 7.0)])], anew=True)
        extract.mark(name, "m", {})
    extract.heard(1_000.0)
    answer = find(extract, "size > 1", "", limit=1, fields=["size"], readable=NAMES[:2], now=2_000.0)
    assert (answer.total, len(answer.found), answer.heard_at) == (2, 1, 1_000.0)
    assert answer.found[0].traits == [Trait("size", 7.0)]


def test_what_is_forgotten_while_a_query_runs_is_never_taken_for_what_came_since(extract: Extract) -> None:
    extract.put("acme/open", [KeptRelease(1, 5.0, "admin/ann", [])], anew=True)
    found = extract.everything(["acme/open"])
    extract.keep_only({"acme/secret"})
    extract.put("acme/secret", [KeptRelease(7, 6.0, "admin/ann", [Trait("size", 7.0)])], anew=True)
    assert extract.lines(found) == []
    assert [extract.traits(one, {"size"}) for one in found] == [[]]


@pytest.mark.parametrize("harm", ["garbage", "gone", "newer"])
def test_an_extract_that_can_not_be_read_is_begun_anew(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "extract.db"
    first = Extract(path)
    first.put("acme/helmet", [KeptRelease(1, 5.0, "admin/ann", [])], anew=True)
    first.close()
    match harm:
        case "garbage":
            path.write_bytes(b"x" * 10_000)
        case "gone":
            path.unlink()
        case _:
            import sqlite3  # noqa: PLC0415

            connection = sqlite3.connect(path)
            connection.execute("PRAGMA user_version = 99")
            connection.close()
    second = Extract(path)
    assert second.marks() == {}
    second.put("acme/helmet", [KeptRelease(2, 5.0, "admin/ann", [])], anew=True)
    assert [line.number for line in second.lines(second.everything(NAMES))] == [2]
    second.close()
