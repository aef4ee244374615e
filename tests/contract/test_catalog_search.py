"""Releases are found by what they are, sorted and in pages, as the language says; on every database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud_hub.catalog import Catalog, FoundRow, NumberRow, Place
from cloud_hub.catalog.search import NEWEST, Sort, parse_sort
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, NotFoundError
from modelsyncd.names import ModelName, parse_model
from modelsyncd.query.judging import Value, holds
from modelsyncd.query.parser import parse_query
from modelsyncd.query.traits import Trait
from modelsyncd.query.words import And, Any, Compare, Comparison, Condition, Field, Not, Number, Or, Text
from modelsyncd.release import Parent, Release
from tests.contract.databases import URLS, opened
from tests.fakes.releases import HELMET, made

TEXTS = ["helmet", "Helmet", "hel*met", "100%", "a_b", "[x]", "ü", "ÜBER", "back\\slash", "", "über?"]
MODELS = [parse_model(name) for name in ("acme/helmet", "acme/gloves", "lab/base")]


@pytest.fixture(params=URLS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    with opened(request.param, tmp_path) as found:
        yield found


def publish(catalog: Catalog, number: int, *traits: Trait, model: ModelName = HELMET, channel: str = "") -> Release:
    what = made(number, f"{model} {number}", model=model)
    catalog.models.commit(
        what.signed, what.release, what.digest, channel=channel or None, who="admin/ann", now=float(number)
    )
    catalog.traits.keep(what.release, traits)
    return what.release


def measured(number: int, name: str, value: float, at: float) -> NumberRow:
    return NumberRow(HELMET, number, name, value, "", "", at, "node/n1", digest_of(f"{number}{name}{at}".encode())[:16])


def found(catalog: Catalog, query: str, sort: str = "") -> list[str]:
    page = catalog.search.find(parse_query(query, 1.8e9), parse_sort(sort), limit=1_000)
    return [f"{row.model}:{row.number}" for row in page.rows]


def test_what_was_published_last_comes_first(catalog: Catalog) -> None:
    publish(catalog, 1, Trait("format", "onnx"))
    publish(catalog, 1, Trait("format", "gguf"), model=MODELS[1])
    publish(catalog, 2, Trait("format", "onnx"))
    assert found(catalog, "") == ["acme/helmet:2", "acme/gloves:1", "acme/helmet:1"]
    assert found(catalog, "format = onnx") == ["acme/helmet:2", "acme/helmet:1"]
    assert found(catalog, "model = *gloves") == ["acme/gloves:1"]
    assert found(catalog, "number = 2 or model : GLO") == ["acme/helmet:2", "acme/gloves:1"]


def test_the_channels_that_count_are_those_of_now(catalog: Catalog) -> None:
    publish(catalog, 1, channel="stable")
    publish(catalog, 2, channel="stable")
    assert found(catalog, "channel = stable") == ["acme/helmet:2"]
    assert found(catalog, "not channel = *") == ["acme/helmet:1"]


def test_the_newest_number_counts_whenever_it_came(catalog: Catalog) -> None:
    release = publish(catalog, 1, Trait("metrics.precision", 0.2))
    assert found(catalog, "metrics.precision = 0.2") == ["acme/helmet:1"]
    catalog.numbers.add([measured(1, "precision", 0.9, at=20.0), measured(1, "recall", 0.5, at=20.0)])
    catalog.numbers.add([measured(1, "precision", 0.4, at=10.0)])
    for _ in range(2):
        assert found(catalog, "metrics.precision > 0.8 and metrics.recall = 0.5") == ["acme/helmet:1"]
        assert found(catalog, "metrics.precision < 0.8") == []
        catalog.traits.keep(release, [Trait("metrics.precision", 0.2)])  # as when it is indexed again


def test_a_number_about_another_variant_is_no_metric_of_the_release(catalog: Catalog) -> None:
    publish(catalog, 1)
    whole = measured(1, "precision", 0.9, at=20.0)
    other = replace(measured(1, "precision", 0.1, at=30.0), variant="int8")
    catalog.numbers.add([whole, other])
    assert found(catalog, "metrics.precision = 0.9") == ["acme/helmet:1"]
    assert found(catalog, "metrics.precision < 0.9") == []
    catalog.numbers.add([replace(measured(1, "precision", 0.5, at=40.0), variant="default")])
    assert found(catalog, "metrics.precision = 0.5") == ["acme/helmet:1"], "the first variant stands for the release"


def test_a_release_that_got_its_traits_after_it_was_told_of_is_told_again(catalog: Catalog) -> None:
    what = made(1, "some")
    catalog.models.commit(what.signed, what.release, what.digest, channel=None, who="admin/ann", now=1.0)
    early = catalog.extracts.changes(HELMET, "")
    assert early is not None
    catalog.traits.keep(what.release, [Trait("format", "onnx")])
    late = catalog.extracts.changes(HELMET, early.mark)
    assert late is not None
    assert [one.traits for one in catalog.extracts.load(late.ids)] == [[Trait("format", "onnx")]]
    assert catalog.extracts.changes(HELMET, late.mark) is None


def test_a_release_is_stale_until_it_is_indexed(catalog: Catalog) -> None:
    what = made(1, "some")
    catalog.models.commit(what.signed, what.release, what.digest, channel=None, who="admin/ann", now=1.0)
    (stale,) = catalog.traits.stale(10)
    assert (stale.model, stale.number) == ("acme/helmet", 1)
    catalog.traits.keep(what.release, [])
    assert catalog.traits.stale(10) == []
    with pytest.raises(NotFoundError):
        catalog.traits.keep(made(2, "other").release, [])


def test_what_is_indexed_again_forgets_what_was_there(catalog: Catalog) -> None:
    release = publish(catalog, 1, Trait("format", "onnx"))
    catalog.traits.keep(release, [Trait("format", "gguf")])
    assert found(catalog, "format = onnx") == []
    assert found(catalog, "format = gguf") == ["acme/helmet:1"]


def test_no_word_of_a_query_becomes_a_word_of_the_statement(catalog: Catalog) -> None:
    publish(catalog, 1, Trait("format", "onnx"))
    for text in ("' OR '1'='1", '"; DROP TABLE traits; --', "x\\' OR 1=1", "%", "_nnx", "[o]nnx"):
        query = f'format = "{text}"' if '"' not in text else f"format = '{text}'"
        assert found(catalog, query) == []
    assert found(catalog, "format = onnx") == ["acme/helmet:1"]


@pytest.mark.parametrize("sort", ["", "model", "-number", "size", "-size", "format", "-format", "-metrics.p"])
def test_pages_are_the_whole_in_its_order(catalog: Catalog, sort: str) -> None:
    rng = Random(sort)
    for number in range(1, 24):
        some = [Trait("size", float(rng.randint(1, 5)))] if rng.random() < 0.7 else []
        some += [Trait("format", rng.choice(["onnx", "gguf"]))] if rng.random() < 0.7 else []
        some += [Trait("metrics.p", rng.choice([-0.5, 0.0, 0.5]))] if rng.random() < 0.7 else []
        publish(catalog, number, *some)
    everything = catalog.search.find(And(()), parse_sort(sort), limit=100)
    assert everything.next is None
    assert len({row.number for row in everything.rows}) == 23
    paged: list[FoundRow] = []
    after: Place | None = None
    for _ in range(10):
        page = catalog.search.find(And(()), parse_sort(sort), limit=5, after=after)
        paged += page.rows
        after = page.next
        if after is None:
            break
    assert paged == list(everything.rows)


def test_sorting_puts_what_says_nothing_last(catalog: Catalog) -> None:
    publish(catalog, 1, Trait("size", 10.0))
    publish(catalog, 2)
    publish(catalog, 3, Trait("size", 5.0), Trait("size", 50.0, "big"))
    assert found(catalog, "", "size") == ["acme/helmet:3", "acme/helmet:1", "acme/helmet:2"]
    assert found(catalog, "", "-size") == ["acme/helmet:3", "acme/helmet:1", "acme/helmet:2"]
    for odd in ("channel", "-channel"):
        with pytest.raises(BadInputError):
            parse_sort(odd)
    assert parse_sort("") is NEWEST
    assert parse_sort("-params") == Sort("parameters", descending=True)


def test_only_the_fields_that_were_asked_for_come_with_it(catalog: Catalog) -> None:
    publish(catalog, 1, Trait("format", "onnx", "default"), Trait("size", 7.0, "default"), Trait("tag", "x"))
    (row,) = catalog.search.find(And(()), limit=5, fields=["size", "tag"]).rows
    assert row.traits == [Trait("size", 7.0, "default"), Trait("tag", "x")]
    assert (row.who, row.committed_at, row.channels) == ("admin/ann", 1.0, ())


# --- any query, any catalogue ---

KEYS = ("format", "labels.task", "size", "metrics.p", "tag")
texts = st.sampled_from([*TEXTS, "h*", "*", "*%", "HEL", "_", "?"]).map(Text)
numbers = st.sampled_from([0.0, -1.5, 3.0, 1e300]).map(Number)
text_leaves = st.builds(
    Comparison,
    st.sampled_from(["format", "labels.task", "tag", "model", "channel", "labels.none"]).map(Field),
    st.sampled_from([Compare.EQUAL, Compare.NOT_EQUAL, Compare.HAS]),
    texts | st.just(Any()),
)
number_leaves = st.builds(
    Comparison,
    st.sampled_from(["size", "metrics.p", "number", "metrics.none"]).map(Field),
    st.sampled_from([how for how in Compare if how is not Compare.HAS]),
    numbers | st.sampled_from([Number(1), Number(2)]),
)
conditions = st.recursive(
    text_leaves | number_leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, max_size=3).map(lambda several: And(tuple(several))),
        st.lists(inner, max_size=3).map(lambda several: Or(tuple(several))),
    ),
    max_leaves=6,
)


def _random_traits(rng: Random) -> list[Trait]:
    some: list[Trait] = []
    for key in KEYS:
        for _ in range(rng.choice([0, 1, 1, 2])):
            text = key in ("format", "labels.task", "tag")
            some.append(Trait(key, rng.choice(TEXTS) if text else rng.choice([0.0, -1.5, 3.0, 1e300])))
    return list(dict.fromkeys(some))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_database_finds_what_the_language_says(catalog: Catalog, data: st.DataObject) -> None:
    if not catalog.models.list():
        rng = Random(11)
        for number in range(1, 13):
            for model in MODELS:
                publish(catalog, number, *_random_traits(rng), model=model, channel=rng.choice(["", "stable", "beta"]))
    condition: Condition = data.draw(conditions)
    everything = catalog.search.find(And(()), limit=1_000, fields=KEYS).rows

    def said(row: FoundRow) -> bool:
        def look(field: Field) -> Sequence[Value]:
            match field.name:
                case "model":
                    return [str(row.model)]
                case "number":
                    return [float(row.number)]
                case "channel":
                    return row.channels
                case _:
                    return [one.value for one in row.traits if one.key == field.name]

        return holds(condition, look)

    assert list(catalog.search.find(condition, limit=1_000, fields=KEYS).rows) == [
        row for row in everything if said(row)
    ]


def test_children_are_found_by_their_parents(catalog: Catalog) -> None:
    base = publish(catalog, 1, model=MODELS[2])
    what = made(1, "child")
    parent = Parent(base.model, 1, digest_of(b"base"), "fine-tuned-from")
    child = Release(HELMET, 1, what.release.variants, parents=(parent,))
    catalog.models.commit(what.signed, child, what.digest, channel=None, who="admin/ann", now=1.0)
    catalog.traits.keep(child, [Trait("parent", "lab/base"), Trait("parent", "lab/base:1")])
    assert found(catalog, "parent = lab/base") == found(catalog, "parent = lab/base:1") == ["acme/helmet:1"]
