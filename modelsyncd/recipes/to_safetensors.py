"""The recipe that takes the weights out of a PyTorch file, without running the program that a pickle is.

Tensors are found by their storages' places in the zip and by what the pickle's opcodes say of them, as a push finds
them; a file that says anything else is refused. A tensor that is not one run of its storage can't be found so.

Files get the names that loaders look for: `pytorch_model.bin` becomes `model.safetensors`, and an index of several
files names the new ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from modelsyncd.errors import BadInputError
from modelsyncd.formats.header import Header, OddError
from modelsyncd.formats.pytorch import QuantisedError, read_named
from modelsyncd.manifest import Tensor
from modelsyncd.recipes.weights import copied, json_of, pieces, reader, weight_files, write_safetensors

_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
_INDEX = ".bin.index.json"
_THEIRS, _OURS = "pytorch_model", "model"
"""How the names of files begin that hold a model's weights, or a part of them."""
_DTYPES = frozenset(
    "bool u8 i8 f8_e4m3 f8_e5m2 f8_e8m0 u16 i16 f16 bf16 u32 i32 f32 u64 i64 f64 c64".split()  # noqa: SIM905
)
"""What the format has, and readers of it read."""


class ToSafetensors:
    """PyTorch → safetensors."""

    name: ClassVar[str] = "to-safetensors"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "weights of PyTorch files → safetensors, without unpickling them"
    options: ClassVar[Mapping[str, str]] = {}

    def derive(self, source: Path, target: Path, options: Mapping[str, str]) -> None:
        """See `Recipe`. Raises BadInputError for a folder without PyTorch weights that can be found."""
        del options
        files = {file.path for file in weight_files(source) if file.format == "pytorch"}
        if not files:
            raise BadInputError("there is no PyTorch file in it", hint="its files are named by `modelsyncctl show`")
        for path in sorted(one for one in source.rglob("*") if one.is_file()):
            name = path.relative_to(source)
            if name.as_posix() in files:
                _convert(path, target / _renamed(name))
            elif name.name.endswith(_INDEX):
                _index(path, target / name.with_name(f"{_renamed(name).name}.index.json"))
            else:
                copied(path, target / name)


def _renamed(name: Path) -> Path:
    """The file's new name; of an index, that of the file that it stands for."""
    stem = name.name.removesuffix(".index.json")
    if stem.startswith(_THEIRS):
        stem = _OURS + stem.removeprefix(_THEIRS)
    suffix = next((one for one in _SUFFIXES if stem.endswith(one)), "")
    return name.with_name(f"{stem.removesuffix(suffix)}.safetensors")


def _index(path: Path, out: Path) -> None:
    """Which tensor is in which file."""
    said = json_of(path)
    places = said.get("weight_map") if said else None
    if not said or not isinstance(places, dict):
        raise BadInputError(f"{path.name} is no index of weights")
    said["weight_map"] = {key: _renamed(Path(str(place))).as_posix() for key, place in places.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _convert(path: Path, out: Path) -> None:
    if out.exists():
        raise BadInputError(f"two files would become {out.name}")
    with path.open("rb") as file:
        tensors = _named(path, Header(path.stat().st_size, reader(file)))
        told = [(one.name, one.dtype, one.shape, one.size) for one in tensors]
        write_safetensors(out, told, (pieces(file, one) for one in tensors), {"format": "pt"})


def _named(path: Path, header: Header) -> tuple[Tensor, ...]:
    try:
        found = read_named(header)
    except QuantisedError as error:
        raise BadInputError(
            f"{error} of {path.name} is quantised: its scales would be lost, safetensors has no place for them",
            hint="convert it before it is quantised, or dequantise it",
        ) from error
    except OddError as error:
        raise BadInputError(
            f"the tensors of {path.name} can't all be told without running it",
            hint="save a plain state dict of contiguous tensors: torch.save(model.state_dict(), …)",
        ) from error
    for one in found:
        if one.dtype not in _DTYPES:
            raise BadInputError(f"{one.name} of {path.name} is {one.dtype}, which safetensors does not have")
        if "_parameters" in one.name.split("."):
            raise BadInputError(
                f"{path.name} is a whole module, not its weights",
                hint="save its state dict: torch.save(model.state_dict(), …)",
            )
    return found
