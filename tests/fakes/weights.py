"""Models in memory whose tensors are versions of one another: trained, turned, renamed, moved."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from modelsyncd import manifest
from modelsyncd.digest import digest_of
from modelsyncd.manifest import Chunking, File, Manifest, Tensor

WIDTHS = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2, "i8": 1, "u8": 1}
_FORMATS = {"f64": "d", "f32": "f", "f16": "e"}


@dataclass(frozen=True, slots=True)
class Weights:
    """A tensor with its bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def packed(values: Sequence[float], dtype: str) -> bytes:
    """Values as the bytes of a dtype."""
    if dtype == "bf16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    if dtype in ("i8", "u8"):
        return bytes(max(0, min(255, round(value * 300) + 128)) ^ (128 if dtype == "i8" else 0) for value in values)
    return struct.pack(f"<{len(values)}{_FORMATS[dtype]}", *values)


def values_of(seed: int, count: int) -> list[float]:
    """Weights as they are in a model: small, of either sign."""
    rng = random.Random(seed)
    return [rng.gauss(0, 0.1) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Trainable:
    """A tensor whose values are known, so that it can be trained a little."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    seed: int
    steps: int = 0

    @property
    def weights(self) -> Weights:
        """Its bytes after so many steps; each moves every value by about a thousandth of what weights are."""
        count = 1
        for extent in self.shape:
            count *= extent
        values = values_of(self.seed, count)
        rng = random.Random(self.seed + 1)
        for _ in range(self.steps):
            values = [value + rng.gauss(0, 0.0001) for value in values]
        return Weights(self.name, self.dtype, self.shape, packed(values, self.dtype))

    @property
    def trained(self) -> Trainable:
        """One step further."""
        return replace(self, steps=self.steps + 1)

    def named(self, name: str) -> Trainable:
        """The same under another name."""
        return replace(self, name=name)


def turned(weights: Weights) -> Weights:
    """A matrix column by column."""
    rows, columns = weights.shape
    width = WIDTHS[weights.dtype]
    element = [weights.data[at : at + width] for at in range(0, len(weights.data), width)]
    data = b"".join(element[row * columns + column] for column in range(columns) for row in range(rows))
    return Weights(weights.name, weights.dtype, (columns, rows), data)


@dataclass(slots=True)
class Holding:
    """A manifest and its files' bytes, with a reader that counts."""

    manifest: Manifest
    contents: list[bytes]
    reads: int = 0
    read_bytes: int = 0

    def read(self, file: int, offset: int, size: int) -> memoryview:
        """What `bases.Read` promises."""
        assert 0 <= offset <= offset + size <= len(self.contents[file])
        self.reads += 1
        self.read_bytes += size
        return memoryview(self.contents[file])[offset : offset + size]

    def plain(self, ordinal: int) -> bytes:
        """The bytes of a chunk."""
        chunk = manifest.ChunkTable(self.manifest).chunk(ordinal)
        return self.contents[chunk.file][chunk.offset : chunk.offset + chunk.size]

    @property
    def sizes(self) -> list[int]:
        """Bytes of the files."""
        return [file.size for file in self.manifest.files]


def holding(files: Mapping[str, Sequence[Weights | Trainable | bytes]], step: int = 4_096) -> Holding:
    """Files of tensors and of bytes in no tensor, cut in steps."""
    contents: dict[str, bytes] = {}
    layouts: dict[str, list[Tensor]] = {}
    for path in sorted(files):
        parts: list[bytes] = []
        layouts[path] = []
        position = 0
        for part in files[path]:
            if isinstance(part, bytes):
                parts.append(part)
            else:
                one = part.weights if isinstance(part, Trainable) else part
                layouts[path].append(Tensor(one.name, one.dtype, one.shape, position, len(one.data)))
                parts.append(one.data)
            position += len(parts[-1])
        contents[path] = b"".join(parts)
    return laid_out(contents, layouts, step)


def laid_out(contents: Mapping[str, bytes], layouts: Mapping[str, Sequence[Tensor]], step: int = 4_096) -> Holding:
    """Files with these layouts, whatever those say."""
    chunking = Chunking(step=step)
    files = []
    for path in sorted(contents):
        content = contents[path]
        sizes = cut(len(content), layouts[path], step)
        starts = [sum(sizes[:number]) for number in range(len(sizes))]
        digests = b"".join(digest_of(content[start : start + size]) for start, size in zip(starts, sizes, strict=True))
        files.append(File(path, len(content), bytes(32), False, tuple(sizes), digests, tuple(layouts[path]), "fake"))
    return Holding(manifest.check(Manifest(tuple(files), chunking)), [contents[path] for path in sorted(contents)])


def cut(size: int, tensors: Sequence[Tensor], step: int) -> list[int]:
    """Sizes of chunks: steps inside tensors that are longer than one, and as much as fits into one of what is not."""
    edges = {0, size}
    for tensor in tensors:
        if tensor.size >= step:
            edges |= {*range(tensor.offset, tensor.offset + tensor.size, step), tensor.offset + tensor.size}
    cuts = sorted(edges)
    parts = [part for start, end in pairwise(cuts) for part in range(start, end, step)] + [size]
    return [end - start for start, end in pairwise(parts)] if size else []
