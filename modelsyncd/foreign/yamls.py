"""The only place that reads YAML of others: without tags, without aliases, and not more of it than a person writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modelsyncd.errors import BadInputError

MOST = 1 << 20  # bytes of one file


def read_yaml(path: Path) -> list[Mapping[str, object]]:
    """The mappings in a file, one for each document. Raises BadInputError, OSError."""
    import yaml  # noqa: PLC0415  # of the extras for hub and ctl

    class Plain(yaml.SafeLoader):
        """Without aliases, of which a few lines stand for gigabytes, and without tags, which fail in many ways."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            event: object = self.peek_event()  # type: ignore[no-untyped-call]
            if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
                raise yaml.YAMLError("aliases and tags are not read")
            found: yaml.Node | None = super().compose_node(parent, index)
            return found

    with path.open("rb") as file:
        data = file.read(MOST + 1)
    if len(data) > MOST:
        raise BadInputError(f"{path} has more than {MOST} bytes, and is no description of a model")
    try:
        documents = list(yaml.load_all(data, Plain))  # made from SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInputError(f"{path} is no YAML that can be read: {error}") from error
    return [one for one in documents if isinstance(one, dict)]


def text_of(value: object) -> str:
    """A scalar as text; "" for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    try:
        return str(value)
    except ValueError:  # a number of thousands of digits
        return ""
