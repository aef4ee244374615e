"""The only place that says how an outbox item is written down: JSON, and a checksum of it on a line of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_agent.outbox.words import Origin, Publication
from modelsyncd.digest import Digest, checksum, digest_from, digest_of
from modelsyncd.errors import BadInputError, DamageError, ModelsyncError, NewerFormatError
from modelsyncd.manifest import piece_digests
from modelsyncd.names import parse_model, parse_ref
from modelsyncd.release import DEFAULT_VARIANT, ManifestRef, Parent, Release, Variant, check
from modelsyncd.session.frames import OFFER_ID_BYTES

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Paper:
    """What is known of an item beside its content. Times are seconds since 1970 UTC.

    `created_at` and `parents` were settled when it was stored, so that each try says the same release, byte for byte.
    """

    id: str
    publication: Publication
    manifest: Digest
    size: int
    files: int
    parents: tuple[Parent, ...]
    stored_at: float
    created_at: int

    @property
    def offer_id(self) -> bytes:
        """Names it to the hub over all its tries: what was carried out is not done again."""
        return digest_of(f"{self.id}\n{self.stored_at!r}\n{self.manifest.hex()}".encode())[:OFFER_ID_BYTES]

    def release(self, manifest_bytes: bytes, number: int, producer: str) -> Release:
        """What is offered to the hub. Raises BadInputError, LimitError; DamageError for another manifest's bytes."""
        if digest_of(manifest_bytes) != self.manifest:
            raise DamageError(f"the manifest of outbox item {self.id} is not the one that was stored")
        wanted = self.publication
        ref = ManifestRef(self.manifest, len(manifest_bytes), self.size, self.files, piece_digests(manifest_bytes))
        return check(
            Release(
                model=wanted.model,
                number=number,
                variants=(Variant(DEFAULT_VARIANT, ref),),
                parents=self.parents,
                labels=dict(wanted.labels),
                metrics=dict(wanted.metrics),
                producer=producer,
                created_at=self.created_at,
                note=wanted.note,
            )
        )


def encode(paper: Paper) -> bytes:
    """For a file. Raises BadInputError for a number that is none."""
    wanted = paper.publication
    for name, value in wanted.metrics.items():
        if not math.isfinite(value):
            raise BadInputError(f"{name[:40]!r} = {value} is no number", hint="leave it out")
    body = {
        "format": FORMAT,
        "id": paper.id,
        "path": str(wanted.path),
        "model": str(wanted.model),
        "channel": wanted.channel,
        "origins": [[str(one.ref), one.role] for one in wanted.parents],
        "labels": dict(wanted.labels),
        "metrics": dict(wanted.metrics),
        "note": wanted.note,
        "user": wanted.user,
        "manifest": paper.manifest.hex(),
        "size": paper.size,
        "files": paper.files,
        "parents": [[str(one.model), one.number, one.release_digest.hex(), one.role] for one in paper.parents],
        "stored_at": paper.stored_at,
        "created_at": paper.created_at,
    }
    raw = json.dumps(body, indent=1).encode() + b"\n"
    return raw + _ending(raw)


def decode(raw: bytes) -> Paper:
    """What `encode` wrote. Raises DamageError, NewerFormatError."""
    body, _, ending = raw.rpartition(b"\n")[0].rpartition(b"\n")
    body += b"\n"
    if ending + b"\n" != _ending(body):
        raise DamageError("the paper of an outbox item was changed on this disk")
    try:
        kept = json.loads(body)
        if kept["format"] > FORMAT:
            raise NewerFormatError(f"this outbox item has format {kept['format']}", hint="update the agent")
        return _paper(kept)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError("the paper of an outbox item can't be read") from error
    except NewerFormatError:
        raise
    except ModelsyncError as error:
        raise DamageError(f"the paper of an outbox item makes no sense: {error.message}") from error


def _paper(kept: Mapping[str, object]) -> Paper:
    read = _Reader(kept)
    publication = Publication(
        path=Path(read.text("path")),
        model=parse_model(read.text("model")),
        channel=read.text("channel"),
        parents=tuple(Origin(parse_ref(str(ref)), str(role)) for ref, role in read.rows("origins")),
        labels={str(key): str(value) for key, value in read.pairs("labels").items()},
        metrics={str(key): float(str(value)) for key, value in read.pairs("metrics").items()},
        note=read.text("note"),
        user=read.text("user"),
    )
    return Paper(
        id=read.text("id"),
        publication=publication,
        manifest=digest_from(bytes.fromhex(read.text("manifest"))),
        size=int(read.number("size")),
        files=int(read.number("files")),
        parents=tuple(
            Parent(parse_model(str(model)), int(str(number)), digest_from(bytes.fromhex(str(digest))), str(role))
            for model, number, digest, role in read.rows("parents")
        ),
        stored_at=read.number("stored_at"),
        created_at=int(read.number("created_at")),
    )


class _Reader:
    """Values out of a paper, each of its kind. Raises TypeError, KeyError."""

    def __init__(self, kept: Mapping[str, object]) -> None:
        self._kept = kept

    def text(self, name: str) -> str:
        value = self._kept[name]
        if not isinstance(value, str):
            raise TypeError(name)
        return value

    def number(self, name: str) -> float:
        value = self._kept[name]
        if not isinstance(value, int | float):
            raise TypeError(name)
        return value

    def rows(self, name: str) -> list[list[object]]:
        value = self._kept[name]
        if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
            raise TypeError(name)
        return value

    def pairs(self, name: str) -> dict[object, object]:
        value = self._kept[name]
        if not isinstance(value, dict):
            raise TypeError(name)
        return value


def _ending(raw: bytes) -> bytes:
    return b"%016x\n" % checksum(raw)
