"""The only place where the hub fetches a model from elsewhere: with its own credentials, from where its settings allow.

    DATA/imports/DIGEST12/files/…   what was fetched of one URL, whole files under their names
    DATA/imports/DIGEST12/part      the file that is being fetched, and in `part.of` which one of which size that is
    DATA/imports/DIGEST12/origin    what lay there when it was begun: a digest of names, sizes and tags

What is there is not fetched again by the next import of the same URL, as long as nothing changed where it comes from;
it goes when the release is published. Laws: no release has files of two states of its origin; a URL that no setting
allows is never opened, for whoever may publish must not read the hub's network.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from cloud_hub.commit import HubIntake
from modelsyncd.codec.registry import READABLE, encode
from modelsyncd.digest import digest_of, short
from modelsyncd.errors import BadInputError, DamageError, DiskFullError, LimitError, NumberTakenError, RefusedError
from modelsyncd.exchange.publishing import NUMBERS_TRIED, Wish, ref_of, release_of
from modelsyncd.limits import LIMITS
from modelsyncd.manifest import pieces
from modelsyncd.names import check_paths
from modelsyncd.release import SignedRelease
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import OFFER_ID_BYTES, Offer, Part
from modelsyncd.store.blobs import Blob, Blobs, ObjectBlobs, open_origin
from modelsyncd.store.durable import disk_errors, make_folder, remove_tree, rename, write_file
from modelsyncd.store.source import Source
from modelsyncd.wire.nouns import encode_manifest, encode_release

PIECE = 4 << 20  # bytes asked for at once
BATCH = 64  # chunks that are kept at once
SPARE = 64 << 20  # bytes of disk that an import leaves free


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it; `size` is plain bytes."""

    settled: Settled
    files: int
    size: int


def check_allowed(url: str, allowed: Sequence[str]) -> None:
    """Raises RefusedError for a URL that begins like none of those, BadInputError for one that says too much."""
    parts = urlsplit(url)
    path = unquote(parts.path)  # whoever opens the URL reads "%2e%2e" as "..", and a backslash as a slash
    if parts.username or parts.password or parts.query or parts.fragment or {".", ".."} & set(path.split("/")):
        raise BadInputError("an import's URL has no user, no query and no ..", hint="credentials are the hub's")
    if "\\" in url or "\\" in path:
        raise BadInputError("an import's URL has no backslash")
    if not any(_begins(url, prefix) for prefix in allowed):
        said = ", ".join(allowed) or "nothing"
        raise RefusedError(
            f"this hub fetches nothing from {url[:200]}",
            safe="nothing was fetched",
            hint=f'it fetches from: {said}. Its setting is imports = ["{parts.scheme}://{parts.netloc}/"]',
        )


def _begins(url: str, prefix: str) -> bool:
    """At a whole part of the path: "s3://models" allows no "s3://models-of-others"."""
    return bool(prefix) and url.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def _state(found: Mapping[str, Blob]) -> str:
    listed = json.dumps(sorted((key, one.size, one.tag) for key, one in found.items()))
    return digest_of(listed.encode()).hex()


class Fetching:
    """What lies at one URL, below a folder of the hub's. All methods block."""

    def __init__(self, url: str, top: Path) -> None:
        self._url = url
        self.folder = top / digest_of(url.encode()).hex()[:12]
        self.files = self.folder / "files"

    def look(self) -> tuple[ObjectBlobs, dict[str, Blob]]:
        """What is there, by the name that it gets. Raises BadInputError, NotFoundError, LimitError, RoadError."""
        parts = urlsplit(self._url)
        base, _, name = self._url.rpartition("/")
        if not name and parts.scheme in ("http", "https"):
            raise BadInputError("a folder can't be listed over HTTP", hint="name a file, or use s3://, gs:// or az://")
        origin = open_origin(base)
        try:
            found = self._found(origin, name)
            if not found:
                raise BadInputError(f"there is nothing at {self._url}")
            if len(found) > LIMITS.files or sum(one.size for one in found.values()) > LIMITS.content_bytes:
                raise LimitError(f"{self._url} has more than one version may have")
            check_paths(sorted(found))
        except BaseException:
            origin.close()
            raise
        return origin, found

    def _found(self, origin: ObjectBlobs, name: str) -> dict[str, Blob]:
        if name:
            return {name: origin.about(name)}
        some = {one.key: one for one in islice(origin.list(), LIMITS.files + 1) if one.key}
        folders = {str(folder) for key in some for folder in PurePosixPath(key).parents}
        return {key: one for key, one in some.items() if one.size or key not in folders}  # some tools mark folders

    def check_unchanged(self, found: Mapping[str, Blob]) -> None:
        """Raises DamageError when something else lies there now, and what `look` raises."""
        origin, now = self.look()
        origin.close()
        if _state(now) != _state(found):
            raise DamageError(
                f"what lies at {self._url} changed while it was fetched",
                safe="nothing was published",
                hint="import it again when whoever writes there is done",
            )

    def fetch(self, origin: Blobs, found: Mapping[str, Blob]) -> Iterator[tuple[int, int]]:
        """Makes the files of what was found, a piece at a time: bytes fetched, and bytes in all.

        Raises DiskFullError, DiskError, RoadError, DamageError.
        """
        self._keep_only(found)
        total = sum(one.size for one in found.values())
        done = sum(self._there(name, one) for name, one in found.items())
        room = shutil.disk_usage(self.folder).free - SPARE
        if total - done > room:
            raise DiskFullError(
                f"{total - done} bytes are to be fetched, and {max(0, room)} are free at the hub",
                safe="nothing was published",
                hint="make room at the hub: modelsyncctl gc --dry-run says what could go",
            )
        with disk_errors(self.folder):
            for name, one in found.items():
                if not self._there(name, one):
                    for size in self._fetch(origin, name, one):
                        yield done + size, total
                    done += one.size
                yield done, total

    def _keep_only(self, found: Mapping[str, Blob]) -> None:
        """Forgets what was fetched of another state; where no tag tells one from another, all that was fetched."""
        mark = self.folder / "origin"
        state = _state(found)
        sure = all(one.tag for one in found.values())
        with disk_errors(mark):
            if not sure or not mark.is_file() or mark.read_text(encoding="utf-8") != state:
                self.clear()
                make_folder(self.files)
                write_file(mark, state.encode())
        make_folder(self.files)

    def _there(self, name: str, one: Blob) -> int:
        path = self.files / name
        return one.size if path.is_file() and path.stat().st_size == one.size else 0

    def _fetch(self, origin: Blobs, name: str, one: Blob) -> Iterator[int]:
        part, mark = self.folder / "part", self.folder / "part.of"
        about = json.dumps([name, one.size])
        if not mark.is_file() or mark.read_text(encoding="utf-8") != about:
            part.write_bytes(b"")
            mark.write_text(about, encoding="utf-8")
        at = min(part.stat().st_size if part.exists() else 0, one.size)
        with part.open("r+b" if part.exists() else "w+b") as file:
            file.truncate(at)
            file.seek(at)
            while at < one.size:
                at += file.write(origin.read(one.key, at, min(PIECE, one.size - at)))
                yield at
        target = self.files / name
        target.parent.mkdir(parents=True, exist_ok=True)
        rename(part, target)

    def clear(self) -> None:
        """Forgets what was fetched. Raises DiskError."""
        remove_tree(self.folder)


async def publish(intake: HubIntake, source: Source, wish: Wish, who: str, next_number: Callable[[], int]) -> Imported:
    """Makes what was fetched a release, as a push would. Raises what the intake raises."""
    data = encode_manifest(source.manifest)
    ref, wish_id, now = ref_of(source.manifest, data), os.urandom(OFFER_ID_BYTES), int(time.time())
    for tried in range(1, NUMBERS_TRIED + 1):
        number = await asyncio.to_thread(next_number)
        release = encode_release(release_of(wish, ref, number, who, now))
        offer = Offer(SignedRelease(release), ref.digest, wish.channel, wish_id)
        try:
            settled = await _bring(intake, offer, source, data)
        except NumberTakenError:
            if tried == NUMBERS_TRIED:
                raise
            continue
        return Imported(settled, ref.files, ref.content_size)
    raise AssertionError("each try ends")


async def _bring(intake: HubIntake, offer: Offer, source: Source, data: bytes) -> Settled:
    known = await intake.consider(offer)
    if known is not None:
        return known
    manifest_pieces = pieces(data)
    for part in (Part.MANIFEST, Part.CONTENT):
        missing = await intake.survey(offer, part)
        for start in range(0, len(missing.ordinals), BATCH):
            some = missing.ordinals[start : start + BATCH]

            def coded(some: Sequence[int] = some, part: Part = part) -> list[Keep]:
                read = manifest_pieces.__getitem__ if part is Part.MANIFEST else source.read
                found = [(ordinal, encode(read(ordinal), READABLE)) for ordinal in some]
                return [Keep(offer, part, ordinal, codec, bytes(data), None) for ordinal, (codec, data) in found]

            keeping = await intake.keep(await asyncio.to_thread(coded))
            if keeping.spoiled:
                raise DamageError(f"{len(keeping.spoiled)} chunks of {short(offer.manifest)} changed meanwhile")
    return await intake.complete(offer)
