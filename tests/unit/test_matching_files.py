"""Which bytes of a file a file in another format, or a later one, is coded against: from disk, with real layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelsyncd import bases
from modelsyncd.digest import Buffer
from modelsyncd.manifest import Manifest
from modelsyncd.matching import match
from modelsyncd.store.source import scan
from tests.fakes.trained import Weights, as_bytes, trained, weights
from tests.fakes.zip_files import Member, Storage, TorchTensor, torch_file, zip_file

MODEL = weights("matching", 3)
TRAINED = trained(MODEL)


class _Scanned:
    """A file on disk, and its manifest."""

    def __init__(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.content = content
        with scan(path) as source:
            self.manifest: Manifest = source.manifest

    def read(self, _file: int, offset: int, size: int) -> Buffer:
        return memoryview(self.content)[offset : offset + size]


def _pt(model: Weights) -> bytes:
    storages = [Storage(str(key), "FloatStorage", 4, one.tobytes()) for key, one in enumerate(model.values())]
    tensors = [TorchTensor(storage, one.shape) for storage, one in zip(storages, model.values(), strict=True)]
    return torch_file(dict(zip(model, tensors, strict=True)))


def _npz(model: Weights) -> bytes:
    return zip_file([Member(f"{name}.npy", _npy(one)) for name, one in model.items()])


def _npy(one: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bytes:
    words = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {one.shape}, }}".encode()
    words += b" " * (-(len(words) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + len(words).to_bytes(2, "little") + words + one.tobytes()


def _turned(model: Weights) -> Weights:
    return {f"MatMul_{number}": np.ascontiguousarray(one.T) for number, one in enumerate(model.values())}


def _based(tmp_path: Path, new: tuple[str, bytes], base: tuple[str, bytes]) -> bytes:
    """The base of each chunk of the new file, end to end; zeros for none."""
    there, here = _Scanned(tmp_path / f"old-{base[0]}", base[1]), _Scanned(tmp_path / new[0], new[1])
    found = match(here.manifest, there.manifest, here.read, there.read)
    sizes = here.manifest.files[0].chunk_sizes
    gathered = b""
    for ordinal, size in enumerate(sizes):
        runs = found.runs(ordinal)
        if runs is not None:
            bases.check(runs, [len(base[1])], size)
        gathered += bytes(size) if runs is None else bases.gather(runs, there.read)
    return gathered


@pytest.mark.parametrize(
    ("new", "base"),
    [
        (("m.safetensors", as_bytes(TRAINED)), ("m.safetensors", as_bytes(MODEL))),
        (("m.pt", _pt(TRAINED)), ("m.pt", _pt(MODEL))),
        (("m.pt", _pt(TRAINED)), ("m.safetensors", as_bytes(MODEL))),
        (("m.safetensors", as_bytes(TRAINED)), ("m.npz", _npz(MODEL))),
        (("m.npz", _npz(TRAINED)), ("m.pt", _pt(MODEL))),
    ],
    ids=["safetensors", "pytorch", "safetensors to pytorch", "npz to safetensors", "pytorch to npz"],
)
def test_every_trained_tensor_is_coded_against_itself(
    tmp_path: Path, new: tuple[str, bytes], base: tuple[str, bytes]
) -> None:
    based = _based(tmp_path, new, base)
    assert all(one.tobytes() in based for one in MODEL.values())


def test_every_tensor_that_was_trained_and_turned_is_coded_against_itself(tmp_path: Path) -> None:
    new, base = ("m.npz", _npz(_turned(TRAINED))), ("m.safetensors", as_bytes(MODEL))
    assert all(one.tobytes() in _based(tmp_path, new, base) for one in _turned(MODEL).values())


def test_pytorch_storages_that_were_numbered_anew_are_found(tmp_path: Path) -> None:
    backwards = dict(reversed(TRAINED.items()))
    renamed = {f"other.{number}": one for number, one in enumerate(backwards.values())}
    based = _based(tmp_path, ("m.pt", _pt(renamed)), ("m.pt", _pt(MODEL)))
    assert all(one.tobytes() in based for one in MODEL.values())


def test_another_model_of_the_same_shape_is_no_base(tmp_path: Path) -> None:
    other = weights("another", 3)
    based = _based(tmp_path, ("m.safetensors", as_bytes(other)), ("m.safetensors", as_bytes(MODEL)))
    assert not any(based[len(based) - 3 * (1 << 20) :])
