"""The only place that says what a model's files are: facts that are read from their headers, and from nothing else.

Law: facts are a hint for people and searches. Nothing is refused for them, and nothing is executed to find them.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from modelsyncd.digest import Buffer
from modelsyncd.formats.ports import NOTHING, Port, Words, read_words
from modelsyncd.manifest import File, Manifest

Read = Callable[[int, int, int], Buffer]
"""(file, offset, length) → plain bytes of a file of the manifest, by its place in it."""

FILES_READ = 200  # files whose headers are read: a sharded model says the same in each
CONFIG_BYTES = 1 << 20  # bytes of a config.json that is read
_WORD_CHARS = 64  # characters of an architecture's name


@dataclass(frozen=True, slots=True)
class Facts:
    """What the files of one variant are. Names are in the order of what they name most of."""

    formats: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    parameters: int = 0
    """Elements of all tensors; of the format that has most, where the same weights are there in several."""
    tensors: int = 0
    """How many, counted in the same way."""
    dtypes: tuple[tuple[str, int], ...] = ()
    """Element types with their elements, most first."""
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()


def facts_of(manifest: Manifest, read: Read) -> Facts:
    """The facts of a version. Raises only what `read` raises."""
    words = [_words(index, file, read) for index, file in _worth_reading(manifest)]
    configs = [_config(index, file, read) for index, file in enumerate(manifest.files) if _is_config(file)]
    ports = next((one for one in words if one.inputs or one.outputs), NOTHING)
    heaviest = _heaviest(manifest)
    dtypes = Counter[str]()
    for file in heaviest:
        for tensor in file.tensors:
            dtypes[tensor.dtype] += _elements(tensor.shape)
    return Facts(
        formats=_most([(file.format, file.size) for file in manifest.files if file.format]),
        frameworks=_most([(one.framework, 1) for one in words if one.framework]),
        architectures=_most([(name, 1) for name in (*configs, *(one.architecture for one in words)) if name]),
        parameters=sum(dtypes.values()),
        tensors=sum(len(file.tensors) for file in heaviest),
        dtypes=tuple(dtypes.most_common()),
        inputs=ports.inputs,
        outputs=ports.outputs,
    )


def _worth_reading(manifest: Manifest) -> Iterator[tuple[int, File]]:
    found = 0
    for index, file in enumerate(manifest.files):
        if file.format and found < FILES_READ:
            found += 1
            yield index, file


def _words(index: int, file: File, read: Read) -> Words:
    return read_words(file.format, file.size, lambda offset, length: bytes(_upto(index, file, read, offset, length)))


def _upto(index: int, file: File, read: Read, offset: int, length: int) -> Buffer:
    length = min(length, file.size - offset)
    return read(index, offset, length) if length > 0 else b""


def _heaviest(manifest: Manifest) -> list[File]:
    """The files of the format that has most elements."""
    kinds: defaultdict[str, list[File]] = defaultdict(list)
    for file in manifest.files:
        if file.tensors:
            # The data of an ONNX model lies beside it, as one model.
            kinds["onnx" if file.format == "onnx-data" else file.format].append(file)
    return max(kinds.values(), key=_weight, default=[])


def _weight(files: Iterable[File]) -> int:
    return sum(_elements(tensor.shape) for file in files for tensor in file.tensors)


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count


def _most(named: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    counts = Counter[str]()
    for name, weight in named:
        counts[name] += weight
    return tuple(name for name, _ in counts.most_common())


def _is_config(file: File) -> bool:
    """The `config.json` of Hugging Face's layout, which names the kind of model."""
    return file.path.rpartition("/")[2] == "config.json" and 0 < file.size <= CONFIG_BYTES


def _config(index: int, file: File, read: Read) -> str:
    try:
        said: object = json.loads(bytes(read(index, 0, file.size)).decode("utf-8"))
    except (ValueError, RecursionError):
        return ""
    kind = said.get("model_type") if isinstance(said, dict) else None
    return kind[:_WORD_CHARS] if isinstance(kind, str) and kind.isprintable() else ""
