"""The only place that says what a layout is: where the tensors of a file lie, none over another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modelsyncd.formats.header import OddError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.manifest import Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the tensors of a file lie, ascending by offset, and the name of the reader that found them."""

    format: str
    tensors: tuple[Tensor, ...]


def laid_out(tensors: Iterable[Tensor], size: int, limits: Limits = LIMITS) -> tuple[Tensor, ...]:
    """The tensors ascending by offset, those without bytes left out, of two at the very same place the first.

    Raises OddError when one lies outside the file of `size` bytes or over a part of another, and for too much of
    anything.
    """
    kept: list[Tensor] = []
    end = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size)):
        _check(tensor, size, limits)
        if kept and (kept[-1].offset, kept[-1].size) == (tensor.offset, tensor.size):
            continue
        if tensor.size == 0:
            continue
        if tensor.offset < end:
            raise OddError
        end = tensor.offset + tensor.size
        kept.append(tensor)
        if len(kept) > limits.layout_tensors:
            raise OddError
    return tuple(kept)


def _check(tensor: Tensor, size: int, limits: Limits) -> None:
    if not (0 <= tensor.offset <= size and 0 <= tensor.size <= size - tensor.offset):
        raise OddError
    if len(tensor.name) > limits.layout_name_chars or len(tensor.shape) > limits.layout_extents:
        raise OddError
    try:
        tensor.name.encode()
    except UnicodeEncodeError as error:
        raise OddError from error
