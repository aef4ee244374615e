"""The only place where recipes read and write weights: files with tensors in, safetensors out.

What is read are the layouts that a push finds too, so nothing is unpickled and nothing executed. Writing follows
https://github.com/huggingface/safetensors: a header of JSON padded with spaces to 8 bytes, then the tensors.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from modelsyncd.errors import BadInputError
from modelsyncd.formats import ReadAt, read_layout
from modelsyncd.manifest import Tensor

PIECE = 16 << 20  # bytes of one tensor that are in memory at once; whole elements of any type


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file with tensors; `path` is relative to its folder."""

    path: str
    format: str
    tensors: tuple[Tensor, ...]


def weight_files(folder: Path) -> list[WeightFile]:
    """The files of a folder that have tensors which we can find, by path."""
    found: list[WeightFile] = []
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        with path.open("rb") as file:
            layout = read_layout(path.name, path.stat().st_size, reader(file))
        if layout is not None:
            found.append(WeightFile(path.relative_to(folder).as_posix(), layout.format, layout.tensors))
    return found


def pieces(file: BinaryIO, tensor: Tensor, piece: int = PIECE) -> Iterator[bytes]:
    """A tensor's bytes, a piece at a time. Raises BadInputError when the file ends before."""
    for start in range(0, tensor.size, piece):
        size = min(piece, tensor.size - start)
        found = reader(file)(tensor.offset + start, size)
        if len(found) != size:
            raise BadInputError(f"{tensor.name} ends before its time: the file changed while it was read")
        yield found


def write_safetensors(
    path: Path,
    tensors: Sequence[tuple[str, str, Sequence[int], int]],
    contents: Iterable[Iterable[bytes]],
    metadata: Mapping[str, str],
) -> None:
    """Writes tensors (name, dtype, shape, bytes) with their contents in the same order."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, dtype, shape, size in tensors:
        header[name] = {"dtype": dtype.upper(), "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        out.write(len(raw).to_bytes(8, "little") + raw)
        for content in contents:
            for part in content:
                out.write(part)
        if out.tell() != 8 + len(raw) + position:
            raise BadInputError(f"{path.name}: the tensors have other sizes than they said")


def copied(path: Path, out: Path) -> None:
    """A file as it is, with its right to be run."""
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, out)
    out.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def json_of(path: Path) -> dict[str, object] | None:
    """What a JSON file says, if it is an object."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def reader(file: BinaryIO) -> ReadAt:
    """Reads a file at any place."""

    def read_at(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    return read_at
