"""A model's card says for what, from what and under what terms; an odd one says nothing, and costs nothing."""

from __future__ import annotations

import pytest

from modelsyncd.card import CARD_BYTES, FRONT_BYTES, NO_CARD, WORDS, Card, read_card

CARD = """---
license: apache-2.0
pipeline_tag: object-detection
tags:
  - helmet
  - safety
datasets: [acme/site-7, acme/site-9]
base_model: acme/helmet-large
model-index:
  - name: helmet
    results: [{metrics: [{type: precision, value: 0.9}]}]
---

# Helmets on building sites

Finds people without one.
"""


def test_a_card_as_hugging_face_has_it() -> None:
    assert read_card(CARD.encode()) == Card(
        text="# Helmets on building sites\n\nFinds people without one.",
        title="Helmets on building sites",
        licence="apache-2.0",
        task="object-detection",
        tags=("helmet", "safety"),
        datasets=("acme/site-7", "acme/site-9"),
        parents=("acme/helmet-large",),
    )


def test_a_card_from_windows_reads_the_same() -> None:
    assert read_card(b"\xef\xbb\xbf" + CARD.replace("\n", "\r\n").encode()) == read_card(CARD.encode())


def test_a_readme_without_front_matter_is_all_prose() -> None:
    assert read_card(b"# Title\n\n---\nlicense: mit\n---\n") == Card("# Title\n\n---\nlicense: mit\n---", "Title")


def test_a_licence_of_ones_own_goes_by_its_name() -> None:
    assert read_card(b"---\nlicense: other\nlicense_name: acme-1.0\n---\n").licence == "acme-1.0"


def test_numbers_are_words_and_nothing_else_is() -> None:
    card = read_card(b"---\nlicense: 3.0\ntags: [1, true, null, {a: b}, [c], x, x]\ntask: {a: b}\n---\n")
    assert (card.licence, card.tags, card.task) == ("3.0", ("1", "c", "x"), "")


@pytest.mark.parametrize(
    "front",
    [
        "license: [",
        "- license: mit",
        "just words",
        "license: !!python/object/apply:os.system [true]",
        "a: &a [x, x]\nb: [*a, *a]\nlicense: mit",
        "[" * 5_000,
        "license: mit\ntags: " + "x" * FRONT_BYTES,
        "license: 2026-99-99T00:00:00Z",
        "tags: !!bool x",
        'tags: !!int ""',
        "tags: !!timestamp x",
        "license: 0x" + "f" * 9_000,
    ],
)
def test_odd_front_matter_says_nothing(front: str) -> None:
    card = read_card(f"---\n{front}\n---\n# Title\n".encode())
    assert (card.licence in ("", "2026-99-99T00:00:00Z"), card.tags, card.title) == (True, (), "Title")


def test_a_card_is_cut_where_it_grows_too_long() -> None:
    long = read_card(b"---\nlicense: mit\ntags: [" + b"a, b, " * 5_000 + b"]\n---\n" + b"x" * CARD_BYTES)
    assert long.licence == "mit"
    assert len(long.tags) <= WORDS
    assert len(long.text) < CARD_BYTES


def test_bytes_that_are_no_text_are_no_card() -> None:
    assert read_card(b"") == NO_CARD
    assert read_card(b"\xff\xfe\x00").licence == ""
