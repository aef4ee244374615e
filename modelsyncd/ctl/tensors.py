"""The only place that shows what became of a release's tensors: sorted, summed up, for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from modelsyncd.ctl.figures import count, share, size
from modelsyncd.ctl.table import Cell, Column, Row, table
from modelsyncd.wire.v1 import catalog_pb2 as pb

SHOWN = 20  # tensors that a person sees unless all are asked for

WORDS: Mapping[int, str] = {
    pb.CHANGE_KIND_UNCHANGED: "unchanged",
    pb.CHANGE_KIND_CHANGED: "changed",
    pb.CHANGE_KIND_ADDED: "added",
    pb.CHANGE_KIND_REMOVED: "removed",
    pb.CHANGE_KIND_RESIZED: "resized",
    pb.CHANGE_KIND_RETYPED: "retyped",
    pb.CHANGE_KIND_RENAMED: "renamed",
}
"""By the number on the wire; a newer hub's others are "unknown"."""

_COLOURS = {"added": "green", "removed": "red"}
_LAST = ("renamed", "unchanged")
_COLUMNS = (Column("TENSOR"), Column("WHAT"), Column("DTYPE"), Column("SHAPE"), Column("SIZE", right=True))
_NORMS = (Column("CHANGE", right=True), Column("LARGEST", right=True), Column("ELEMENTS", right=True))


@dataclass(frozen=True, slots=True)
class Tensors:
    """All tensors of two releases; bytes are plain, of a removed tensor as it was."""

    changes: Sequence[pb.TensorChange]

    @property
    def sums(self) -> dict[str, tuple[int, int]]:
        """How many tensors and bytes there are of each kind."""
        found = dict.fromkeys(WORDS.values(), (0, 0))
        for change in self.changes:
            number, total = found.get(word(change), (0, 0))
            found[word(change)] = number + 1, total + bytes_of(change)
        return found

    @property
    def size(self) -> int:
        """Bytes of the second release's tensors."""
        return sum(change.after.bytes for change in self.changes)

    def ranked(self) -> list[pb.TensorChange]:
        """What changed most first: by relative norm where there is one, then by bytes; the unchanged ones last."""
        return sorted(self.changes, key=_rank)


def word(change: pb.TensorChange) -> str:
    """What became of it."""
    return WORDS.get(change.kind, "unknown")


def bytes_of(change: pb.TensorChange) -> int:
    """Bytes as it is, or as it was if it is no more."""
    return change.after.bytes if change.HasField("after") else change.before.bytes


def relative(norm: pb.ChangeNorm) -> float:
    """The norm of the difference over that of the tensor as it was; infinite for one that was zero."""
    if norm.l2_before:
        return norm.l2 / norm.l2_before
    return inf if norm.l2 else 0.0


def _rank(change: pb.TensorChange) -> tuple[bool, float, int, str]:
    strength = relative(change.norm) if change.HasField("norm") else 0.0 if word(change) == "changed" else inf
    return word(change) in _LAST, -strength, -bytes_of(change), _view(change).name


def _view(change: pb.TensorChange) -> pb.TensorView:
    return change.after if change.HasField("after") else change.before


def describe(tensors: Tensors) -> dict[str, object]:
    """For programs."""
    kinds = {kind: {"tensors": number, "bytes": total} for kind, (number, total) in tensors.sums.items()}
    return {"kinds": kinds, "tensors": [_change(change) for change in tensors.ranked()]}


def _change(change: pb.TensorChange) -> dict[str, object]:
    return {
        "kind": word(change),
        "before": _side(change.before) if change.HasField("before") else None,
        "after": _side(change.after) if change.HasField("after") else None,
        "bytes": bytes_of(change),
        "norm": _norm(change.norm) if change.HasField("norm") else None,
    }


def _side(view: pb.TensorView) -> dict[str, object]:
    return {
        "file": view.file,
        "name": view.name,
        "dtype": view.dtype,
        "shape": list(view.shape),
        "bytes": view.bytes,
    }


def _norm(norm: pb.ChangeNorm) -> dict[str, object]:
    ratio = relative(norm)
    return {
        "l2": norm.l2,
        "l2_before": norm.l2_before,
        "relative": ratio if ratio < inf else None,
        "largest": norm.largest,
        "elements": norm.elements,
        "elements_changed": norm.elements_changed,
        "elements_left_out": norm.elements_left_out,
    }


def text(tensors: Tensors, *, everything: bool) -> str:
    """For people: a line for each kind that occurs, and the tensors that changed most."""
    sums = [
        f"{count(number, 'tensor')} {kind}, {size(total)} ({share(total, tensors.size)})"
        for kind, (number, total) in tensors.sums.items()
        if number
    ]
    ranked = tensors.ranked()
    rows = ranked if everything else [change for change in ranked if word(change) != "unchanged"][:SHOWN]
    with_norms = any(change.HasField("norm") for change in rows)
    lines = ["; ".join(sums) + "."]
    if rows:
        shown = table(_COLUMNS + _NORMS * with_norms, [_row(change, with_norms=with_norms) for change in rows])
        lines += ["", shown]
    more = sum(word(change) != "unchanged" for change in ranked) - len(rows)
    if more > 0:
        lines.append(f"and {count(more, 'tensor')} more: --all shows them")
    left_out = sum(change.norm.elements_left_out for change in tensors.changes)
    if left_out:
        lines.append(f"{count(left_out, 'element')} infinite or no number: left out of the norms.")
    return "\n".join(lines)


def _row(change: pb.TensorChange, *, with_norms: bool) -> Row:
    kind = word(change)
    row: list[str | Cell] = [
        _both(change, "name"),
        Cell(kind, _COLOURS.get(kind, "yellow")) if kind not in _LAST else kind,
        _both(change, "dtype"),
        _both(change, "shape"),
        size(bytes_of(change)),
    ]
    if with_norms and change.HasField("norm"):
        norm = change.norm
        ratio = relative(norm)
        row += [
            f"{ratio:.3g}" if ratio < inf else "from zero",
            f"{norm.largest:.3g}",
            share(norm.elements_changed, norm.elements),
        ]
    return row


def _both(change: pb.TensorChange, field: str) -> str:
    """As it is, with what it was before if that was something else."""
    sides = [_word(getattr(side, field)) for side in _sides(change)]
    return " → ".join(dict.fromkeys(sides))


def _sides(change: pb.TensorChange) -> list[pb.TensorView]:
    found = [change.before] if change.HasField("before") else []
    return [*found, change.after] if change.HasField("after") else found


def _word(value: object) -> str:
    if isinstance(value, str):
        return value
    extents = list(value) if isinstance(value, Sequence) else []
    return "×".join(map(str, extents)) or "scalar"
