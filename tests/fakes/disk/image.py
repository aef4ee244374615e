"""The only place that says how a disk looks when some steps were kept and others lost, and that makes it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from tests.fakes.disk.recording import ROOT, SECTOR, UNSEEN, ModeStep, NameStep, Node, SectorStep, SizeStep, Step

_OLD = bytes([0xA5]) * SECTOR
"""What a sector holds that was given to a file and never written: whatever somebody deleted before."""


@dataclass
class Image:
    """Names, sizes, modes and sectors by node; `nodes` says of which kind each is."""

    nodes: dict[int, Node]
    names: dict[int, dict[str, int]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    modes: dict[int, int] = field(default_factory=dict)
    sectors: dict[int, dict[int, bytes]] = field(default_factory=dict)

    def keep(self, steps: Iterable[Step]) -> None:
        """These steps reached the disk."""
        for step in steps:
            match step:
                case NameStep(changes=changes):
                    for folder, name, node in changes:
                        if node is None:
                            self.names.get(folder, {}).pop(name, None)
                        else:
                            self.names.setdefault(folder, {})[name] = node
                case SizeStep(node=node, size=size):
                    if size < self.sizes.get(node, 0):
                        kept = self.sectors.get(node, {})
                        self.sectors[node] = {at: data for at, data in kept.items() if at * SECTOR < size}
                    self.sizes[node] = size
                case ModeStep(node=node, mode=mode):
                    self.modes[node] = mode
                case SectorStep(node=node, sector=sector, data=data):
                    self.sectors.setdefault(node, {})[sector] = data

    def spoil(self, steps: Iterable[Step]) -> None:
        """These steps were lost, and the sectors that they should have filled hold what lay there before."""
        for step in steps:
            if isinstance(step, SectorStep):
                self.sectors.setdefault(step.node, {}).setdefault(step.sector, _OLD)

    def copy(self) -> Image:
        """Another one that changes alone."""
        return Image(
            self.nodes,
            {folder: dict(names) for folder, names in self.names.items()},
            dict(self.sizes),
            dict(self.modes),
            {node: dict(sectors) for node, sectors in self.sectors.items()},
        )

    def tree(self, folder: int = ROOT, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Every path from the root with its node, outer before inner."""
        for name, node in sorted(self.names.get(folder, {}).items()):
            yield prefix + name, node
            if self.nodes[node].kind == "folder":
                yield from self.tree(node, f"{prefix}{name}/")

    def content(self, node: int) -> bytes:
        """A file's bytes."""
        whole = bytearray(self.sizes.get(node, 0))
        for sector, data in self.sectors.get(node, {}).items():
            part = data[: max(0, len(whole) - sector * SECTOR)]
            whole[sector * SECTOR : sector * SECTOR + len(part)] = part
        return bytes(whole)

    def name(self) -> bytes:
        """The same for disks that look the same."""
        hasher = blake3()
        for path, node in self.tree():
            kind = self.nodes[node].kind
            hasher.update(f"{path}\0{kind}\0{self.nodes[node].target}\0{self.modes.get(node, 0)}\0".encode())
            if kind == "file":
                hasher.update(self.sizes.get(node, 0).to_bytes(8, "big"))
                for sector, data in sorted(self.sectors.get(node, {}).items()):
                    if sector * SECTOR < self.sizes.get(node, 0):
                        hasher.update(sector.to_bytes(8, "big") + data)
        return hasher.digest()

    def make(self, folder: Path) -> None:
        """Lays it all down in a new folder; what was never written is a hole there, too."""
        folder.mkdir(parents=True)
        for path, node in self.tree():
            place = folder / path
            match self.nodes[node].kind:
                case "folder":
                    place.mkdir()
                case "link":
                    place.symlink_to(self.nodes[node].target)
                case _:
                    self._make_file(place, node)

    def _make_file(self, place: Path, node: int) -> None:
        size = self.sizes.get(node, 0)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.ftruncate(descriptor, size)
            for start, data in _runs(self.sectors.get(node, {})):
                if start < size:
                    os.pwrite(descriptor, data[: size - start], start)
            if self.modes.get(node):
                os.fchmod(descriptor, self.modes[node])
        finally:
            os.close(descriptor)

    def check(self, folder: Path) -> None:
        """Raises AssertionError unless the folder looks exactly so."""
        found = {path: node for path, node in self.tree() if not path.endswith(UNSEEN)}
        real = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
        real = {name: path for name, path in real.items() if not name.endswith(UNSEEN)}
        assert found.keys() == real.keys(), f"not recorded: {sorted(found.keys() ^ real.keys())}"
        for name, path in real.items():
            node = self.nodes[found[name]]
            if path.is_symlink():
                assert str(path.readlink()) == node.target, name
            elif path.is_file():
                assert self.content(found[name]) == path.read_bytes(), f"not all writes to {name} were recorded"
                mode = self.modes.get(found[name])
                assert mode in (None, stat.S_IMODE(path.stat().st_mode)), name


def _runs(sectors: dict[int, bytes]) -> Iterator[tuple[int, bytes]]:
    """Neighbouring sectors joined, with the offset of the first."""
    run: list[bytes] = []
    begin = 0
    for sector in sorted(sectors):
        if run and sector != begin + len(run):
            yield begin * SECTOR, b"".join(run)
            run = []
        if not run:
            begin = sector
        run.append(sectors[sector])
    if run:
        yield begin * SECTOR, b"".join(run)
