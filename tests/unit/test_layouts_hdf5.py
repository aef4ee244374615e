"""HDF5 files: contiguous datasets are found where h5py put them; what is packed or in a circle leads nowhere."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import Any

import h5py
import numpy as np
import pytest

from modelsyncd.limits import LIMITS
from tests.fakes.layouts import bytes_of, check_sound, layout_of, reading, tensors_of

WEIGHTS = np.arange(6_000, dtype=np.float32).reshape(60, 100)
ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "f64": np.arange(5, dtype=np.float64),
    "f16": WEIGHTS.astype(np.float16),
    "i64": np.arange(7),
    "u16": np.arange(3, dtype=np.uint16),
    "i8": np.arange(9, dtype=np.int8),
    "bool": np.array([True, False, True]),
}


def written(layers: int = 12, **options: Any) -> bytes:
    """A file as Keras lays one out, and datasets of other kinds beside."""
    out = io.BytesIO()
    with h5py.File(out, "w", **options) as file:
        file.attrs["keras_version"] = "3.0"
        file.attrs["model_config"] = "x" * 5_000
        for index in range(layers):
            group = file.create_group(f"layers/dense_{index}/vars")
            group.attrs["name"] = "y" * 100
            group.create_dataset("0", data=WEIGHTS + index)
            group.create_dataset("1", data=WEIGHTS[0] + index)
        others = file.create_group("others")
        for name, array in ARRAYS.items():
            others.create_dataset(name, data=array)
    return out.getvalue()


@pytest.mark.parametrize(("libver", "layers"), [("earliest", 1), ("earliest", 100), ("latest", 1), ("latest", 8)])
def test_contiguous_datasets_are_found_where_h5py_put_them(libver: str, layers: int) -> None:
    content = written(layers, libver=libver)
    layout = layout_of(content, "model.weights.h5")
    assert layout is not None
    assert layout.format == "hdf5"
    found = tensors_of(content)
    assert len(found) == 2 * layers + len(ARRAYS)
    with h5py.File(io.BytesIO(content)) as file:
        for name, tensor in found.items():
            theirs = file[name]
            assert (tensor.offset, tensor.size) == (theirs.id.get_offset(), theirs.id.get_storage_size())
            assert (tensor.shape, bytes_of(content, tensor)) == (theirs.shape, theirs[()].tobytes())
    assert {name: found[f"others/{name}"].dtype for name in ARRAYS} == {name: name for name in ARRAYS}
    assert found["layers/dense_0/vars/0"].dtype == "f32"


def test_what_is_no_plain_run_of_numbers_is_left_out() -> None:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["kept"] = WEIGHTS
        file["scalar"] = np.float32(3)
        file["turned round"] = WEIGHTS.astype(">f4")
        file["complex"] = np.array([1 + 2j])
        file["text"] = "text"
        file.create_dataset("chunked", data=WEIGHTS, chunks=(10, 10))
        file.create_dataset("packed", data=WEIGHTS, compression="gzip")
        file.create_dataset("never written", (5,), dtype="f4")
        file["soft"] = h5py.SoftLink("/kept")
        file["circle"] = file["/"]
    content = out.getvalue()
    found = tensors_of(content)
    assert set(found) == {"kept", "scalar"}
    assert bytes_of(content, found["kept"]) == WEIGHTS.tobytes()


def test_a_link_to_another_file_is_not_followed() -> None:
    out = io.BytesIO()
    with h5py.File(out, "w", libver="latest") as file:
        file["kept"] = WEIGHTS
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/kept")
        file["soft"] = h5py.SoftLink("/kept")
    assert set(tensors_of(out.getvalue())) == {"kept"}


def test_a_dataset_under_two_names_is_found_once() -> None:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["a"] = WEIGHTS
        file["b"] = file["a"]
    assert len(tensors_of(out.getvalue())) == 1


def test_a_keras_file_has_its_weights_in_a_zip_file() -> None:
    out = io.BytesIO()
    weights = written(2)
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.0"}))
        with archive.open("model.weights.h5", "w", force_zip64=True) as inside:
            inside.write(weights)
    content = out.getvalue()
    layout = layout_of(content, "model.keras")
    assert layout is not None
    assert layout.format == "keras"
    inner = tensors_of(weights)
    assert {one.name: bytes_of(content, one) for one in layout.tensors} == {
        name: bytes_of(weights, one) for name, one in inner.items()
    }


def test_each_number_may_lie_and_nothing_is_found_outside() -> None:
    for libver in ("earliest", "latest"):
        content = written(2, libver=libver)
        limits = type(LIMITS)(layout_steps=5_000, layout_bytes=4 << 20)
        headers = [at for at in range(0, len(content) - 8, 8) if content[at : at + 64].count(0) < 60]
        for at in headers[:: len(headers) // 40]:
            for lie in (0, 96, at, len(content) - 4, (1 << 63) + 5, (1 << 64) - 1):
                lying = content[:at] + struct.pack("<Q", lie) + content[at + 8 :]
                check_sound(layout_of(lying, limits=limits), len(lying))


@pytest.mark.parametrize("length", [0, 8, 9, 60, 90, 200, 1_000])
def test_a_file_cut_short_is_opaque(length: int) -> None:
    content = written(2)[:length]
    assert layout_of(content) is None


def test_a_circle_of_blocks_is_given_up() -> None:
    continuation = struct.pack("<HHB3xQQ", 16, 16, 0, 96, 24)
    header = struct.pack("<BxHII4x", 1, 1, 1, 24) + continuation
    head = b"\x89HDF\r\n\x1a\n" + bytes(5) + b"\x08\x08" + bytes(9) + bytes(40) + struct.pack("<Q", 80)
    content = head.ljust(80, b"\0") + header + bytes(100)
    found = reading(content)
    assert found.layout is None
    assert found.read < 100_000
