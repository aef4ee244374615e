"""The only place where a manifest is written as bytes and read back; the digest of those bytes is its name."""

from __future__ import annotations

from modelsyncd import manifest as nouns
from modelsyncd.digest import Buffer
from modelsyncd.errors import BadInputError, LimitError, NewerFormatError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.manifest import MANIFEST_FORMAT, Chunking, File, Manifest, Tensor
from modelsyncd.wire import outline
from modelsyncd.wire.parse import parse, write, writing
from modelsyncd.wire.v1 import nouns_pb2

_FILES = nouns_pb2.Manifest.FILES_FIELD_NUMBER
_TENSORS = nouns_pb2.File.TENSORS_FIELD_NUMBER
_OTHERS = 16  # fields of a message beside its long lists; a packed list is one field


def encode_manifest(manifest: Manifest) -> bytes:
    """The canonical bytes. Raises BadInputError for a value that no field can hold."""
    with writing("the manifest"):
        message = nouns_pb2.Manifest(format=MANIFEST_FORMAT, chunking=_chunking_to_pb(manifest.chunking))
        message.files.extend(map(_file_to_pb, manifest.files))
        return write(message)


def decode_manifest(data: Buffer, limits: Limits = LIMITS) -> Manifest:
    """The manifest that these bytes hold, checked.

    Raises LimitError before anything large is built, NewerFormatError for a format of the future, HostilePathError for
    names, BadInputError for anything else that is wrong.
    """
    if len(data) > limits.manifest_bytes:
        raise LimitError(f"a manifest may have {limits.manifest_bytes} bytes, not {len(data)}")
    _check_outline(data, limits)
    message = parse(nouns_pb2.Manifest, data, "a manifest", limits.manifest_bytes)
    if message.format > MANIFEST_FORMAT:
        raise NewerFormatError(
            f"this manifest has format {message.format}; this modelsyncd reads up to {MANIFEST_FORMAT}",
            hint="update modelsyncd here",
        )
    if message.format != MANIFEST_FORMAT or not message.HasField("chunking"):
        raise BadInputError("these bytes are not a manifest")
    if sum(len(file.chunk_sizes) for file in message.files) > limits.chunks:
        raise LimitError(f"a version may have {limits.chunks} chunks")
    return nouns.check(Manifest(tuple(map(_file_from_pb, message.files)), _chunking_from_pb(message.chunking)), limits)


def _check_outline(data: Buffer, limits: Limits) -> None:
    """Counts files and tensors in the bytes themselves, so that empty entries by the million are never built."""
    files = tensors = others = 0
    for field in outline.fields(data):
        files += field.number == _FILES
        others += field.number != _FILES
        if field.number == _FILES:
            for inner in outline.fields(data, field.start, field.end):
                tensors += inner.number == _TENSORS
                others += inner.number != _TENSORS
                if tensors > limits.tensors:
                    raise LimitError(f"a version may have {limits.tensors} tensors")
                if others > _OTHERS * (files + 1):
                    raise BadInputError("these bytes are not a manifest as modelsyncd writes it")
        if files > limits.files:
            raise LimitError(f"a version may have {limits.files} files")


def _chunking_to_pb(chunking: Chunking) -> nouns_pb2.Chunking:
    return nouns_pb2.Chunking(
        step=chunking.step,
        algorithm=chunking.algorithm,
        smallest=chunking.smallest,
        average=chunking.average,
        largest=chunking.largest,
    )


def _chunking_from_pb(message: nouns_pb2.Chunking) -> Chunking:
    return Chunking(message.step, message.algorithm, message.smallest, message.average, message.largest)


def _file_to_pb(file: File) -> nouns_pb2.File:
    return nouns_pb2.File(
        path=file.path,
        size=file.size,
        sha256=file.sha256,
        executable=file.executable,
        chunk_sizes=file.chunk_sizes,
        chunk_digests=file.chunk_digests,
        tensors=map(_tensor_to_pb, file.tensors),
        format=file.format,
    )


def _file_from_pb(message: nouns_pb2.File) -> File:
    return File(
        path=message.path,
        size=message.size,
        sha256=message.sha256,
        executable=message.executable,
        chunk_sizes=tuple(message.chunk_sizes),
        chunk_digests=message.chunk_digests,
        tensors=tuple(map(_tensor_from_pb, message.tensors)),
        format=message.format,
    )


def _tensor_to_pb(tensor: Tensor) -> nouns_pb2.Tensor:
    return nouns_pb2.Tensor(
        name=tensor.name, dtype=tensor.dtype, shape=tensor.shape, offset=tensor.offset, size=tensor.size
    )


def _tensor_from_pb(message: nouns_pb2.Tensor) -> Tensor:
    return Tensor(message.name, message.dtype, tuple(message.shape), message.offset, message.size)
