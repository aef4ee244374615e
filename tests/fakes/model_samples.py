"""One small sound file of each format that has a reader, to be spoilt by tests and fuzzers."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import NamedTuple

from tests.fakes.zip_files import Member, Storage, TorchTensor, torch_file, zip_file


class Sample(NamedTuple):
    """A file: its name, the format that it has, and its bytes."""

    path: str
    format: str
    content: bytes


def _gguf() -> bytes:
    def text(word: bytes) -> bytes:
        return struct.pack("<Q", len(word)) + word

    head = b"GGUF" + struct.pack("<IQQ", 3, 2, 3)
    head += text(b"general.alignment") + struct.pack("<II", 4, 32)
    head += text(b"tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"bc")
    head += text(b"nested") + struct.pack("<IIQIQ", 9, 9, 1, 6, 1) + bytes(4)
    head += text(b"w") + struct.pack("<IQQIQ", 2, 32, 2, 2, 0)
    head += text(b"b") + struct.pack("<IQIQ", 1, 4, 0, 64)
    return head + bytes(-len(head) % 32) + bytes(range(80))


def _field(number: int, content: bytes) -> bytes:
    length = len(content)
    return bytes([number << 3 | 2]) + bytes([length & 0x7F | 0x80, length >> 7]) + content


def _onnx() -> bytes:
    inside = b"\x08\x02\x08\x03\x10\x01" + _field(8, b"weights") + _field(9, bytes(24))
    pointers = _field(13, _field(1, b"location") + _field(2, b"d")) + _field(13, _field(1, b"offset") + _field(2, b"8"))
    outside = b"\x0a\x01\x04\x10\x03" + _field(8, b"outside") + pointers + b"\x70\x01"
    graph = _field(5, inside) + _field(1, _field(2, b"out")) + _field(5, outside)
    return b"\x08\x09" + _field(7, graph)


def _npy() -> bytes:
    words = b"{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4), }"
    words += b" " * (-(len(words) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(words)) + words + bytes(range(48))


def _pytorch() -> bytes:
    first = TorchTensor(Storage("0", "FloatStorage", 4, bytes(range(48))), (3, 4), parameter=True)
    second = TorchTensor(Storage("1", "UntypedStorage", 1, bytes(6)), (2, 3), dtype="float8_e5m2")
    return torch_file({"model": {"w": first, "b": second}, "step": 1, "groups": [{"lr": None}]})


def _tflite() -> bytes:
    """Written once by the schema's own writer (`tflite_files.py`): a tensor of six bytes, and one without."""
    return bytes.fromhex(TFLITE)


def _hdf5() -> bytes:
    """Written once by h5py: a group with six floats and three bytes in two datasets."""
    return zlib.decompress(base64.b85decode(HDF5))


def _safetensors() -> bytes:
    entries = {
        "w": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]},
        "b": {"dtype": "BF16", "shape": [5], "data_offsets": [48, 58]},
    }
    header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(range(58))


TFLITE = (
    "1800000054464c3300000e0010000c0000000800000004000e0000000c000000180000000300000003000000a4000000940000008400"
    "0000010000000400000082ffffff040000000200000040000000100000000c0010000c000000080004000c0000001400000002000000"
    "04000000010000000100000001000000630000000c00140010000f00080004000c0000001c0000000100000000000009040000000200"
    "00000200000003000000010000007700000004000600040000000000060008000400060000000c000000040004000400000006000000"
    "6162636465660000"
)
HDF5 = (
    "c-rgqaB<`1lHy_j0S*oZ76t(ZWbhvfR&$~9Ve$!3nh{EOK<O1sFmXn(oCH){5NbZUx{x4OSCH!eXaHu<16Byl!7vI&BJgl^3;@v)P(Cb"
    "`o?t>%mxGobJt(vnSNio}hVV03iA%o$9HZ%XH2osdFDyNEu%fEVhSEuB>DYlxdxQP_T|g-qmhKdo(eejcIvxeM$^lkLm@&fm8W5TZA^<"
    "Cfpuvg3X9mVNNTr~HJg|-h#{`2o2ZMM$RGt+WLm+u3CWwI?&=kVVXu*M+Vql<R5QIvDJtS#50C58lFK~dQHzs)bJcARz39xjj!9JSC@T"
    "WIO{4+8#qNOVsEdW+3zyZ_3K_FeN;6gP41||&B0AT_Ec(F^@"
)

SAMPLES = {
    sample.format: sample
    for sample in (
        Sample("m.gguf", "gguf", _gguf()),
        Sample("m.onnx", "onnx", _onnx()),
        Sample("m.npy", "npy", _npy()),
        Sample("m.npz", "npz", zip_file([Member("a.npy", _npy()), Member("b.npy", _npy(), in_64=True)], end_64=True)),
        Sample("m.pt", "pytorch", _pytorch()),
        Sample("m.safetensors", "safetensors", _safetensors()),
        Sample("m.tflite", "tflite", _tflite()),
        Sample("m.h5", "hdf5", _hdf5()),
        Sample("m.keras", "keras", zip_file([Member("c.json", b"{}"), Member("w.h5", _hdf5(), in_64=True)])),
    )
}
"""By format."""
