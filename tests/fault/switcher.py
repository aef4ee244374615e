"""A process that does nothing but switch a channel to and fro: python -m tests.fault.switcher DATA REF COUNT."""

from __future__ import annotations

import sys
from itertools import cycle, islice
from pathlib import Path

from modelsyncd.names import parse_ref
from modelsyncd.store.tree import EdgeTree
from modelsyncd.wire import nouns


def main(data: Path, ref: str, count: int) -> None:
    """Leads the channel to the model's versions in turn, so many times; beginning with one where it does not lead."""
    tree = EdgeTree(data, nouns)
    channel = parse_ref(ref)
    versions = [version for version in tree.versions(channel.model) if version != tree.active(channel)]
    versions += [version for version in tree.versions(channel.model) if version not in versions]
    for version in islice(cycle(versions), count):
        tree.activate(channel, version)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
