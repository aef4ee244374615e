"""The only place that remembers what nodes should hold: worked out for one node, or for all of them at once.

A move of a channel has every node look. Looking one node up after the other asks the database ten questions for each;
all nodes together take hardly more than that. So the first few that look after a change are answered alone, and when
more come, all are worked out and kept until the next change.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloud_hub.catalog import Catalog, DesiredRows, RightRow
from cloud_hub.desired import desired
from modelsyncd.session.frames import Desired

FEW = 16  # nodes that are looked up alone after a change; more cost more than all at once


@dataclass(frozen=True, slots=True)
class Told:
    """What a node should hold, and what it may publish."""

    desired: Desired
    rights: Sequence[RightRow]


class Board:
    """Of one hub process. `look` blocks, and may be called by many threads."""

    def __init__(self, catalog: Catalog, few: int = FEW) -> None:
        self._catalog = catalog
        self._few = few
        self._lock = threading.Lock()
        self._revision = -1
        self._looks = 0
        self._rows: Mapping[str, DesiredRows] = {}
        self._rights: Mapping[str, Sequence[RightRow]] = {}

    def look(self, node: str) -> Told:
        """As the catalogue has it now. Raises NotFoundError."""
        revision = self._catalog.revision()
        with self._lock:  # held while all are worked out: whoever comes meanwhile would need the same
            if revision > self._revision:
                self._revision, self._looks = revision, 0
                self._rows, self._rights = {}, {}
            self._looks += 1
            if self._looks > self._few and not self._rows:
                self._work_out()
            rows, rights = self._rows.get(node), self._rights.get(node, ())
        if rows is None:
            return Told(desired(self._catalog.assignments.desired(node)), self._catalog.rights.list(node))
        return Told(desired(rows), rights)

    def _work_out(self) -> None:
        self._rows = self._catalog.assignments.desired_by_node()
        self._rights = self._catalog.rights.by_node()  # of the same revision, or a newer one: then all look again
        self._revision = max((rows.revision for rows in self._rows.values()), default=self._revision)
