"""The recipe that takes the weights out of a PyTorch file, without running the program that a pickle is.

Tensors are found by their storages' places in the zip and by what the pickle's opcodes say of them, as a push finds
them; a file that says anything else is refused. A tensor that is not one run of its storage can't be found so.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from modelsyncd.errors import BadInputError
from modelsyncd.formats.header import Header, OddError
from modelsyncd.formats.pytorch import read_named
from modelsyncd.manifest import Tensor
from modelsyncd.recipes.weights import pieces, reader, weight_files, write_safetensors

_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")


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
            out = target / path.relative_to(source)
            out.parent.mkdir(parents=True, exist_ok=True)
            if path.relative_to(source).as_posix() in files:
                _convert(path, _renamed(out))
            else:
                shutil.copyfile(path, out)


def _renamed(out: Path) -> Path:
    return out.with_suffix(".safetensors") if out.suffix in _SUFFIXES else out.with_name(f"{out.name}.safetensors")


def _convert(path: Path, out: Path) -> None:
    if out.exists():
        raise BadInputError(f"two files would become {out.name}")
    with path.open("rb") as file:
        tensors = _named(path, Header(path.stat().st_size, reader(file)))
        told = [(one.name, one.dtype, one.shape, one.size) for one in tensors]
        write_safetensors(out, told, (pieces(file, one) for one in tensors), {"format": "pt"})


def _named(path: Path, header: Header) -> tuple[Tensor, ...]:
    try:
        return read_named(header)
    except OddError as error:
        raise BadInputError(
            f"the tensors of {path.name} can't all be told without running it",
            hint="save a plain state dict of contiguous tensors: torch.save(model.state_dict(), …)",
        ) from error
