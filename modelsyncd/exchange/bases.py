"""The only place where what lies on this machine becomes something to code against, and a folder as it was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from modelsyncd.digest import Digest, digest_of, short
from modelsyncd.errors import ModelsyncError, NotFoundError
from modelsyncd.exchange.destination import Look
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.exchange.thread import Check
from modelsyncd.formats import points_elsewhere
from modelsyncd.limits import LIMITS
from modelsyncd.manifest import Chunking, File, Manifest
from modelsyncd.store.held import Files
from modelsyncd.store.listing import Entry, entries
from modelsyncd.store.source import Source, scan, scan_entries
from modelsyncd.wire.nouns import encode_manifest


def named(path: Path, source: Source) -> LocalBase:
    """A folder or file that was scanned, with its manifest's name."""
    return LocalBase(path, source, digest_of(encode_manifest(source.manifest)))


def finder(bases: Sequence[LocalBase]) -> Callable[[Digest], Files]:
    """For `store.held.Held`."""
    known = {one.name: one.source for one in bases}

    def find(name: Digest) -> Files:
        if name not in known:
            raise NotFoundError(f"{short(name)} is not here")
        return known[name]

    return find


def of_folder(folder: Path, looks: Sequence[Look], chunking: Chunking, work: str, check: Check) -> LocalBase | None:
    """What DEST holds, as the release that it may be; None when that is not worth finding out.

    `looks` have read most of it already. A folder with more in it than that is somebody's own, and not read. What
    begins with `work` is no part of it.
    """
    seen = {one.file.path: one.found for one in looks if one.found is not None}
    if not seen:
        return None
    try:
        found = [entry for entry in entries(folder, LIMITS) if not entry.path.startswith(work)]
        others = sum(entry.stamp.size for entry in found if entry.path not in seen)
        if others > sum(source.manifest.content_size for source in seen.values()):
            return None
        return named(folder, _together(found, seen, chunking, check))
    except ModelsyncError:
        return None  # a link that leads outside, or the like: no release looks so


def _together(found: Sequence[Entry], seen: Mapping[str, Source], chunking: Chunking, check: Check) -> Source:
    """The entries as one source, with what was seen of them read no second time."""
    if any(points_elsewhere(entry.path) for entry in found):  # how a file is cut, another one may say
        return scan_entries(found, chunking, lambda _done, _total: check())
    files = tuple(_file(entry, seen.get(entry.path), chunking, check) for entry in found)
    return Source(Manifest(files, chunking), [entry.place for entry in found])


def _file(entry: Entry, seen: Source | None, chunking: Chunking, check: Check) -> File:
    source = seen or scan(Path(entry.place), chunking, lambda _done, _total: check())
    return replace(source.manifest.files[0], path=entry.path, executable=entry.executable)
