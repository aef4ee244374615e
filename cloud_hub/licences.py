"""The only place that says what a peer may publish, and against what it may code what it pushes.

An admin may publish anything. A node may publish what somebody allowed it to, under its own name, and move a channel
only where the right says so. What it is told of as a base, and what it may name as one, is what its channels have ever
named and what it published itself: a coding tells whoever has one side much about the other (see `rights.py`).
Everything here is asked of the catalogue anew when anything changed; each call blocks and runs in a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from cloud_hub.catalog import Catalog, ReleaseRow, RightRow
from cloud_hub.patterns import covers
from cloud_hub.rights import AssignedOnly
from modelsyncd.digest import Digest
from modelsyncd.errors import NotFoundError, RefusedError
from modelsyncd.names import ModelName
from modelsyncd.trust.identity import Kind, Peer

_SAFE = "nothing was changed; what was published before stays"


class Licence(Protocol):
    """What one peer may publish."""

    def __call__(self, model: ModelName, channel: str) -> None:
        """Raises RefusedError unless it may publish releases of this model and (if not empty) move this channel."""

    def likely(self, model: ModelName, most: int) -> Sequence[ReleaseRow]:
        """Releases that are likely to resemble a new one of this model, of those that it may hear of."""

    def bases(self, among: Sequence[Digest]) -> Sequence[Digest]:
        """Those of the manifests that it may hear of, and code against."""


class AnyRelease:
    """The licence of an admin."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __call__(self, model: ModelName, channel: str) -> None:
        """Never raises."""

    def likely(self, model: ModelName, most: int) -> Sequence[ReleaseRow]:
        """See `Licence`."""
        return self._catalog.models.recent(model, most)

    def bases(self, among: Sequence[Digest]) -> Sequence[Digest]:
        """All of them."""
        return among


class AllowedOnly:
    """The licence of a node. Safe to use from any thread."""

    def __init__(self, catalog: Catalog, node: str) -> None:
        self._catalog = catalog
        self._node = node
        self._reads = AssignedOnly(catalog, node)
        self._lock = threading.Lock()
        self._revision = -1
        self._rights: Sequence[RightRow] = ()

    def __call__(self, model: ModelName, channel: str) -> None:
        """Raises RefusedError."""
        rights = [right for right in self._look() if covers(right.models, str(model))]
        if not rights:
            raise RefusedError(
                f"node {self._node} has no right to publish {model}",
                safe=_SAFE,
                hint=f"modelsyncctl allow {self._node} {model}",
            )
        if channel and not any(covers(pattern, channel) for right in rights for pattern in right.channels):
            raise RefusedError(
                f"node {self._node} may publish {model}, and has no right to move its channel {channel!r}",
                safe=_SAFE,
                hint=f"modelsyncctl allow {self._node} {model} --channel {channel}",
            )

    def likely(self, model: ModelName, most: int) -> Sequence[ReleaseRow]:
        """What its channels name now, those of the same model first, and what it published of the model itself."""
        try:
            followed = self._catalog.assignments.for_node(self._node)
        except NotFoundError:
            return ()
        named = [each.release for each in followed if each.release is not None]
        same = [release for release in named if release.model == model]
        others = [release for release in named if release.model != model]
        own = self._catalog.models.published_by(str(Peer(Kind.NODE, self._node)), model, most)
        return [*same, *own, *others][:most]

    def bases(self, among: Sequence[Digest]) -> Sequence[Digest]:
        """See `Licence`."""
        with self._lock:
            return self._reads.bases(among)

    def _look(self) -> Sequence[RightRow]:
        revision = self._catalog.revision()
        with self._lock:
            if revision != self._revision:
                self._rights = self._read()
                self._revision = revision
            return self._rights

    def _read(self) -> Sequence[RightRow]:
        try:
            return self._catalog.rights.list(self._node)
        except NotFoundError:
            return ()  # it was removed


def licence_of(peer: Peer, catalog: Catalog) -> Licence:
    """What this peer may publish; nothing, unless it is an admin or a node that was let in."""
    return AnyRelease(catalog) if peer.kind is Kind.ADMIN else AllowedOnly(catalog, peer.name)
