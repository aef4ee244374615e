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
        """Without aliases: a few lines with them can stand for gigabytes."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not read")
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
    return str(value)
