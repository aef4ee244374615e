"""The only place that says which file of a base a file is a version of."""

from __future__ import annotations

from modelsyncd.manifest import Manifest


class Counterparts:
    """Files of a base by the files of a new manifest: the same path, or the only ones of their kind."""

    def __init__(self, new: Manifest, base: Manifest) -> None:
        self._new = new
        self._paths = {file.path: number for number, file in enumerate(base.files)}
        self._only = _only(base)
        self._ours = _only(new)

    def of(self, file: int) -> int | None:
        """The number of the base's file, or None."""
        path = self._new.files[file].path
        if path in self._paths:
            return self._paths[path]
        suffix = _suffix(path)
        return self._only.get(suffix) if suffix in self._ours else None


def _only(manifest: Manifest) -> dict[str, int]:
    """By suffix, the files that are the only ones with it."""
    found: dict[str, list[int]] = {}
    for number, file in enumerate(manifest.files):
        found.setdefault(_suffix(file.path), []).append(number)
    return {suffix: numbers[0] for suffix, numbers in found.items() if len(numbers) == 1}


def _suffix(path: str) -> str:
    """`.bin` of `a/b.bin`; empty without one."""
    _, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return dot + suffix if dot else ""
