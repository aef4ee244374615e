"""Sources with layouts: each file is cut along its own tensors, in folders of any kind of model."""

from __future__ import annotations

import json
from pathlib import Path

from modelsyncd.chunker import TENSORS_1
from modelsyncd.limits import Limits
from modelsyncd.manifest import Chunking, File
from modelsyncd.store.source import scan
from tests.fakes.folders import contents, noise
from tests.fakes.model_files import safetensors_file, safetensors_header
from tests.fakes.model_samples import SAMPLES
from tests.fakes.zip_files import Storage, TorchTensor, torch_file

SMALL = Chunking(step=1000, smallest=64, average=256, largest=1024)


def files_of(folder: Path, chunking: Chunking = SMALL, limits: Limits | None = None) -> dict[str, File]:
    """The files of a scanned folder by their path."""
    with scan(folder, chunking, limits=limits or Limits()) as source:
        return {file.path: file for file in source.manifest.files}


def test_a_folder_with_every_kind_of_model_reads_back_and_names_each_kind(tmp_path: Path) -> None:
    for sample in SAMPLES.values():
        (tmp_path / sample.path).write_bytes(sample.content)
    with scan(tmp_path, SMALL) as source:
        assert {file.format for file in source.manifest.files} == set(SAMPLES)
        assert contents(source) == {sample.path: sample.content for sample in SAMPLES.values()}


def test_each_shard_of_a_sharded_model_has_its_own_layout(tmp_path: Path) -> None:
    weight_map = {}
    for number in (1, 2, 3):
        header = safetensors_header({f"layer.{number}.weight": ("F32", [700])})
        shard = f"model-{number:05}-of-00003.safetensors"
        (tmp_path / shard).write_bytes(safetensors_file(header, noise(2_800, number)))
        weight_map[f"layer.{number}.weight"] = shard
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    files = files_of(tmp_path)
    for name, shard in weight_map.items():
        assert [tensor.name for tensor in files[shard].tensors] == [name]
        assert files[shard].chunk_sizes[1:] == (1000, 1000, 800)
    assert files["model.safetensors.index.json"].format == ""


def test_a_fine_tune_that_changes_one_tensor_of_a_pytorch_file_changes_no_chunk_of_the_others(tmp_path: Path) -> None:
    def state(last: bytes) -> bytes:
        weights = [Storage(str(index), "FloatStorage", 4, noise(4_000, index)) for index in range(4)]
        small = Storage("5", "FloatStorage", 4, noise(40, 5))
        layers = {f"layer.{index}": TorchTensor(one, (1000,)) for index, one in enumerate(weights)}
        head = {"head": TorchTensor(Storage("4", "FloatStorage", 4, last), (len(last) // 4,))}
        return torch_file({"model": {**layers, "scale": TorchTensor(small, (10,)), **head}})

    digests = []
    for number, last in enumerate((noise(800, 7), noise(1_200, 8))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "m.pt").write_bytes(state(last))
        file = files_of(folder)["m.pt"]
        assert [tensor.name for tensor in file.tensors[:2]] == ["model.layer.0", "model.layer.1"]
        digests.append([file.chunk_digests[at : at + 32] for at in range(0, len(file.chunk_digests), 32)])
    before, after = map(set, digests)
    assert len(before & after) >= 16  # four steps of each of the four layers


def test_what_is_compared_with_an_older_release_is_cut_by_its_law(tmp_path: Path) -> None:
    for name in ("gguf", "safetensors", "pytorch"):
        (tmp_path / SAMPLES[name].path).write_bytes(SAMPLES[name].content)
    first = files_of(tmp_path, Chunking(step=1000, algorithm=TENSORS_1, smallest=64, average=256, largest=1024))
    assert {path: file.format for path, file in first.items()} == {
        "m.gguf": "", "m.pt": "", "m.safetensors": "safetensors"
    }  # fmt: skip


def test_tensors_beyond_what_a_version_may_have_are_no_reason_to_refuse_it(tmp_path: Path) -> None:
    header = safetensors_header({str(index): ("U8", [10]) for index in range(6)})
    for name in "abc":
        (tmp_path / f"{name}.safetensors").write_bytes(safetensors_file(header, noise(60)))
    files = files_of(tmp_path, limits=Limits(tensors=13))
    assert [len(file.tensors) for file in files.values()] == [6, 6, 0]
    assert [file.format for file in files.values()] == ["safetensors", "safetensors", ""]


def test_of_two_models_that_share_their_data_the_first_by_name_says_how_it_is_laid_out(tmp_path: Path) -> None:
    sample = SAMPLES["onnx"].content
    (tmp_path / "b.onnx").write_bytes(sample)
    (tmp_path / "a.onnx").write_bytes(sample.replace(b"outside", b"another"))
    (tmp_path / "d").write_bytes(noise(100))
    files = files_of(tmp_path)
    assert [(tensor.name, tensor.offset, tensor.size) for tensor in files["d"].tensors] == [("another", 8, 4)]
    assert files["d"].format == "onnx-data"


def test_a_file_that_has_a_layout_of_its_own_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(SAMPLES["onnx"].content)
    (tmp_path / "d").write_bytes(SAMPLES["npy"].content)
    assert files_of(tmp_path)["d"].format == "npy"
