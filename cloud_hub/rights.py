"""The only place that says what a peer may read, and what may be coded for it, or by it, against what.

A coding of one version against another tells whoever has the other much about the first, and the reverse. So a node's
word that it holds a base is not enough: a channel that it follows must have named that base's release at some time, or
the node must have published it itself. That it published something does not let it read that back.
Everything here is asked of the catalogue anew when anything changed; each call blocks and runs in a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cloud_hub.catalog import Catalog
from modelsyncd.digest import Digest, short
from modelsyncd.errors import RefusedError
from modelsyncd.trust.identity import Kind, Peer


class Right(Protocol):
    """What one peer may read."""

    def __call__(self, manifest: Digest) -> None:
        """Raises RefusedError unless it may read this manifest and its content."""

    def bases(self, named: Sequence[Digest]) -> Sequence[Digest]:
        """Those of the manifests that it says it holds against which chunks may be coded for it, in its order."""


class Anything:
    """The right of an admin: whatever was committed."""

    def __call__(self, manifest: Digest) -> None:
        """Never raises."""

    def bases(self, named: Sequence[Digest]) -> Sequence[Digest]:
        """All of them."""
        return named


anything = Anything()


class AssignedOnly:
    """The right of a node: what its channels name right now; as bases, what they have ever named and what it published.

    For one thread.
    """

    def __init__(self, catalog: Catalog, node: str) -> None:
        self._catalog = catalog
        self._node = node
        self._revision = -1
        self._readable: frozenset[Digest] = frozenset()
        self._judged: dict[tuple[Digest, ...], Sequence[Digest]] = {}

    def __call__(self, manifest: Digest) -> None:
        """Raises RefusedError."""
        self._look()
        if manifest not in self._readable:
            raise RefusedError(
                f"{self._node} is not assigned what it asks for ({short(manifest)})",
                safe="what it holds already stays as it is",
                hint="`modelsyncctl assign` makes a node follow a channel",
            )

    def bases(self, named: Sequence[Digest]) -> Sequence[Digest]:
        """See `Right`."""
        self._look()
        wanted = tuple(named)
        judged = self._judged.get(wanted)
        if judged is None:
            allowed = self._catalog.assignments.once_named(self._node, wanted)
            allowed |= self._catalog.models.brought_by(str(Peer(Kind.NODE, self._node)), wanted)
            judged = [manifest for manifest in wanted if manifest in allowed]
            self._judged = {wanted: judged}  # a transfer names the same ones each time
        return judged

    def _look(self) -> None:
        revision = self._catalog.revision()
        if revision != self._revision:
            self._readable = frozenset(self._catalog.assignments.readable(self._node))
            self._judged = {}
            self._revision = revision
