"""The only place that finds what a request over HTTP names: a version that is whole, and the files in it."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from edge_agent.leases import Lease, Leases
from edge_agent.watchers import Active
from modelsyncd.digest import Digest
from modelsyncd.errors import InvalidNameError, NotFoundError
from modelsyncd.names import DEFAULT_CHANNEL, ModelName, ModelRef, nearest, parse_channel
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version

MAIN = "main"  # what clients of Hugging Face ask for when nobody said which
COMMIT_CHARS = 40  # of a git commit's name, which is what they take the name of a version for
REMEMBERED = 32  # manifests whose lists of files are kept: reading a large one takes a second
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Channels(Protocol):
    """What this node follows. Belongs to the loop's thread."""

    @property
    def refs(self) -> Sequence[ModelRef]:
        """All channels, by name."""

    def active(self, ref: ModelRef) -> Active | None:
        """What a channel leads to, if it is whole."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a version: `size` in bytes, `sha256` in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A version that may be read; `folder` holds its files. A channel was switched to it at `since`, 0 for unknown.

    `variant` is which form of its release it is, "" where nobody asked by channel.
    """

    version: Version
    folder: Path
    files: Mapping[str, Entry]
    since: float = 0.0
    variant: str = ""

    @property
    def commit(self) -> str:
        """The first 40 hex digits of its manifest's digest: the same content has the same one everywhere."""
        return self.version.manifest.hex()[:COMMIT_CHARS]

    def file(self, path: str) -> Entry:
        """A file of it. Raises NotFoundError; a path that could lead elsewhere is in no manifest."""
        entry = self.files.get(path)
        if entry is None:
            raise NotFoundError(
                f"{self.version.model}:{self.version.number} has no file {path[:200]!r}",
                nearest=nearest(path, self.files),
            )
        return entry


class Versions:
    """What a node shows. Belongs to the loop's thread; the disk's work hops to another."""

    def __init__(self, channels: Channels, tree: EdgeTree, leases: Leases) -> None:
        self._channels = channels
        self._tree = tree
        self._leases = leases
        self._files: OrderedDict[Digest, Mapping[str, Entry]] = OrderedDict()

    @property
    def refs(self) -> Sequence[ModelRef]:
        """All channels that this node follows."""
        return self._channels.refs

    async def of_channel(self, ref: ModelRef) -> Shown:
        """What a channel leads to. Raises NotFoundError, DiskError, DamageError."""
        active = self._channels.active(ref)
        if active is None:
            known = [str(one) for one in self.refs if self._channels.active(one) is not None]
            raise NotFoundError(f"no version of {ref} is whole on this node", nearest=nearest(str(ref), known))
        return replace(await self._shown(active.version), since=active.since, variant=active.variant)

    async def of_revision(self, model: ModelName, revision: str) -> Shown:
        """A version by what clients of Hugging Face call a revision.

        "main" is the channel "stable"; then a channel's name, a release's number, or `Shown.commit`. Raises as above.
        """
        if revision == MAIN:
            return await self.of_channel(ModelRef(model, channel=DEFAULT_CHANNEL))
        if _COMMIT.fullmatch(revision) or revision.isdecimal():
            return await self._shown(await self._lying(model, revision))
        try:
            return await self.of_channel(ModelRef(model, channel=parse_channel(revision)))
        except InvalidNameError as error:
            raise NotFoundError(f"there is no revision {revision[:80]!r} of {model} on this node") from error

    def leads_to(self, ref: ModelRef, revision: str) -> bool:
        """Whether a channel leads to the version of this number or commit now."""
        active = self._channels.active(ref)
        return active is not None and _is_named(active.version, revision)

    def hold(self, shown: Shown, holder: str) -> Lease:
        """Keeps a version while it is read. Whoever opens a file of it afterwards sees whether it was there still."""
        return self._leases.hold(shown.version, holder)

    async def _lying(self, model: ModelName, revision: str) -> Version:
        active = [one.version for ref in self.refs if ref.model == model and (one := self._channels.active(ref))]
        found = next((one for one in active if _is_named(one, revision)), None)
        if found is not None:
            return found
        held = (await asyncio.to_thread(self._tree.observed)).held
        lying = sorted((one for one in held if one.model == model and _is_named(one, revision)), reverse=True)
        if not lying:
            raise NotFoundError(f"there is no version {revision[:80]} of {model} on this node")
        return lying[0]

    async def _shown(self, version: Version) -> Shown:
        files = self._files.get(version.manifest)
        if files is None:
            files = await asyncio.to_thread(self._read, version.manifest)
            self._files[version.manifest] = files
            while len(self._files) > REMEMBERED:
                self._files.popitem(last=False)
        return Shown(version, self._tree.layout.version(version), files)

    def _read(self, manifest: Digest) -> Mapping[str, Entry]:
        files = self._tree.manifest(manifest).files
        return {file.path: Entry(file.path, file.size, file.sha256.hex()) for file in files}


def _is_named(version: Version, revision: str) -> bool:
    if _COMMIT.fullmatch(revision):
        return version.manifest.hex().startswith(revision)
    return revision.isdecimal() and version.number == int(revision[:20])
