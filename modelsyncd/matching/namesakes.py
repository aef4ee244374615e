"""The only place that compares the names of tensors."""

from __future__ import annotations

from collections.abc import Iterator

from modelsyncd.manifest import Manifest, Tensor
from modelsyncd.matching.samples import Located, located

NAMESAKES = 4  # tensors of one name that are looked at, as in a folder that has the same model in several formats
DROPPED = 3  # leading parts of a name that wrappers add: `0.auto_model.`, `module.`, `model.`


class Namesakes:
    """The base's tensors that are called like a tensor of the new manifest, wrappers' prefixes aside."""

    def __init__(self, new: Manifest, base: Manifest) -> None:
        self._new = new
        self._base = base
        self._named: dict[str, list[Located]] | None = None
        self._shortened: dict[str, list[Located]] | None = None

    def of(self, new: Located) -> list[Located]:
        """Those of the same dtype and of half to twice the size, the likeliest first."""
        found = [base for base in self._called(new.tensor.name) if _comparable(new.tensor, base.tensor)]
        path = self._new.files[new.file].path
        found.sort(key=lambda base: (self._base.files[base.file].path != path, base.tensor.size != new.tensor.size))
        return found[:NAMESAKES]

    def _called(self, name: str) -> list[Located]:
        if self._named is None:
            self._named = _index((base.tensor.name, base) for base in located(self._base))
        if name in self._named:
            return self._named[name]
        for shorter in _shortened(name):
            if shorter in self._named:
                return self._named[shorter]
        if self._shortened is None:
            self._shortened = _index(
                (shorter, base) for base in located(self._base) for shorter in _shortened(base.tensor.name)
            )
        for candidate in (name, *_shortened(name)):
            if candidate in self._shortened:
                return self._shortened[candidate]
        return []


def _index(named: Iterator[tuple[str, Located]]) -> dict[str, list[Located]]:
    """By name; of a crowd with one name the first few are enough."""
    index: dict[str, list[Located]] = {}
    for name, base in named:
        known = index.setdefault(name, [])
        if len(known) < 4 * NAMESAKES:
            known.append(base)
    return index


def _shortened(name: str) -> Iterator[str]:
    """The name without its first part, its first two, …; a name of one part stays as it is."""
    for _ in range(DROPPED):
        _, dot, name = name.partition(".")
        if not dot or "." not in name:
            return
        yield name


def _comparable(new: Tensor, base: Tensor) -> bool:
    return new.dtype == base.dtype and new.size <= 2 * base.size and base.size <= 2 * new.size
