"""The only place where the hub fetches a model from elsewhere: with its own credentials, from where its settings allow.

    DATA/imports/DIGEST12/files/…   what was fetched of one URL, whole files under their names
    DATA/imports/DIGEST12/part      the file that is being fetched, and in `part.of` which one of which size that is
    DATA/imports/DIGEST12/origin    what lay there when it was begun: a digest of names, sizes and tags

What is there is not fetched again by the next import of the same URL, as long as nothing changed where it comes from;
it goes when the release is published, or after a week in which nobody went on. Laws: no release has files of two states
of its origin; an address that no setting allows is never opened, typed or led to, for whoever may publish must not read
the hub's network.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
from modelsyncd.store.blobs import Blob, ObjectBlobs, open_origin
from modelsyncd.store.durable import disk_errors, make_folder, remove_tree, rename, write_file
from modelsyncd.store.source import Source
from modelsyncd.store.web import WebOrigin
from modelsyncd.wire.nouns import encode_manifest, encode_release

PIECE = 4 << 20  # bytes asked for at once
BATCH = 64  # chunks that are kept at once
ABANDONED = 7 * 86_400.0  # seconds after which nobody goes on with what was fetched
SPARE = 64 << 20  # bytes of disk that an import leaves free
Origin = ObjectBlobs | WebOrigin


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it; `size` is plain bytes."""

    settled: Settled
    files: int
    size: int


def check_allowed(url: str, allowed: Sequence[str]) -> None:
    """Raises RefusedError for a URL that begins like none of those, BadInputError for one that says too much.

    What the URL leads to is `check_led`'s matter.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment or not _is_plain(url):
        raise BadInputError(
            "an import's URL has no user, no query, no backslash and no ..", hint="credentials are the hub's"
        )
    _check_beginning(url, allowed, f"this hub fetches nothing from {url[:200]}")


def check_led(url: str, allowed: Sequence[str]) -> None:
    """Raises RefusedError for an address that a server leads to and that begins like none of those.

    It may have a query: stores sign what they lead to, and nobody typed it.
    """
    place = url.partition("?")[0]
    refusal = f"the server leads to {place[:200]}, and this hub fetches nothing from there"
    if not _is_plain(place):
        raise RefusedError(refusal, safe="nothing was fetched", hint="its address has a user, a backslash or ..")
    _check_beginning(place, allowed, refusal)


def _is_plain(url: str) -> bool:
    """Without a user, and without what leads out of a folder."""
    parts = urlsplit(url)
    path = unquote(parts.path)  # whoever opens the URL reads "%2e%2e" as "..", and a backslash as a slash
    return not (parts.username or parts.password or {".", ".."} & set(path.split("/")) or "\\" in url + path)


def _check_beginning(url: str, allowed: Sequence[str], refusal: str) -> None:
    if not any(_begins(url, prefix) for prefix in allowed):
        parts, said = urlsplit(url), ", ".join(allowed) or "nothing"
        raise RefusedError(
            refusal,
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

    def __init__(self, url: str, top: Path, allowed: Sequence[str]) -> None:
        """`allowed` are the beginnings of addresses that a server may lead to."""
        self._url = url
        self._allowed = allowed
        self.folder = top / digest_of(url.encode()).hex()[:12]
        self.files = self.folder / "files"

    def look(self) -> tuple[Origin, dict[str, Blob]]:
        """What is there, by the name that it gets. Raises BadInputError, NotFoundError, LimitError, RoadError."""
        base, _, escaped = self._url.rpartition("/")
        name = unquote(escaped)  # as all that opens `base` reads it
        origin: Origin
        if urlsplit(self._url).scheme in ("http", "https"):
            origin = WebOrigin(base, lambda url: check_led(url, self._allowed))
        else:
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

    def _found(self, origin: Origin, name: str) -> dict[str, Blob]:
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

    def fetch(self, origin: Origin, found: Mapping[str, Blob]) -> Iterator[tuple[int, int]]:
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

    def _fetch(self, origin: Origin, name: str, one: Blob) -> Iterator[int]:
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


def forget_abandoned(top: Path, now: float, busy: Collection[str]) -> int:
    """Removes what was fetched of URLs that nobody went on with for long, but for those; how many. Raises DiskError."""
    kept = {digest_of(url.encode()).hex()[:12] for url in busy}
    with disk_errors(top):
        folders = [folder for folder in top.iterdir() if folder.name not in kept] if top.is_dir() else []
        old = [folder for folder in folders if now - _touched(folder) > ABANDONED]
    for folder in old:
        remove_tree(folder)
    return len(old)


def _touched(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


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
