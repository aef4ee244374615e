"""The only place that reads model cards: a README.md whose front matter says for what, from what and under what terms.

The convention is Hugging Face's (https://huggingface.co/docs/hub/model-cards): YAML between two lines of `---`, then
prose. Law: a card is a hint and never an error. What can't be read says nothing; YAML is read without tags and without
aliases, so it can neither make objects nor grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CARD_FILE = "README.md"
CARD_BYTES = 256 << 10  # bytes of a card that are read
FRONT_BYTES = 64 << 10  # bytes of its front matter
WORDS = 64  # words of one list
_WORD_CHARS = 256


@dataclass(frozen=True, slots=True)
class Card:
    """What a model's card says. `text` is its prose; `title` the first heading in it."""

    text: str = ""
    title: str = ""
    licence: str = ""
    task: str = ""
    tags: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    """What it was made from, in the words of the card; not necessarily a model of ours."""


NO_CARD = Card()


def read_card(content: bytes) -> Card:
    """A card from the bytes of its file."""
    text = content[:CARD_BYTES].decode("utf-8", "replace").replace("\r\n", "\n").removeprefix("\ufeff")
    front, prose = _parted(text)
    said = _read_front(front)
    title = next((line.lstrip("# ").strip() for line in prose.splitlines() if line.startswith("#")), "")
    return Card(
        text=prose.strip(),
        title=title[:_WORD_CHARS],
        licence=_word(said.get("license_name")) or _word(said.get("license")) or _word(said.get("licence")),
        task=_word(said.get("pipeline_tag")) or _word(said.get("task")),
        tags=_words(said.get("tags")),
        datasets=_words(said.get("datasets")),
        parents=_words(said.get("base_model")),
    )


def read_front(content: bytes) -> Mapping[str, object]:
    """All that the front matter of a card says; nothing where there is none."""
    text = content[:CARD_BYTES].decode("utf-8", "replace").replace("\r\n", "\n").removeprefix("\ufeff")
    return _read_front(_parted(text)[0])


def _parted(text: str) -> tuple[str, str]:
    """The front matter and the prose; "" for no front matter."""
    if not text.startswith("---\n"):
        return "", text
    front, line, prose = text[4:].partition("\n---")
    if not line or len(front.encode()) > FRONT_BYTES or prose[:1] not in ("", "\n"):
        return "", text
    return front, prose


def _read_front(front: str) -> Mapping[str, object]:
    import yaml  # noqa: PLC0415  # the edge has none: cards are read where they are shown and indexed

    class Plain(yaml.SafeLoader):
        """YAML without aliases, of which a few lines stand for gigabytes, and without tags, which fail in many ways."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            event: object = self.peek_event()  # type: ignore[no-untyped-call]
            if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
                raise yaml.YAMLError("a card needs no aliases and no tags")
            found: yaml.Node | None = super().compose_node(parent, index)
            return found

    try:
        said: object = yaml.load(front, Plain)  # noqa: S506  # made from SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return {key: value for key, value in said.items() if isinstance(key, str)} if isinstance(said, dict) else {}


def _word(value: object) -> str:
    if isinstance(value, list):
        value = next(iter(value), None)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    try:
        text = str(value)
    except ValueError:  # a number of thousands of digits
        return ""
    return "".join(char for char in text.strip() if char.isprintable())[:_WORD_CHARS]


def _words(value: object) -> tuple[str, ...]:
    many = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(word for one in many[:WORDS] if (word := _word(one))))
