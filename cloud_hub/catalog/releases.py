"""The only place where rows of releases become `ReleaseRow`s, many at a time, and where a new release is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, and_, func, insert, select

from cloud_hub.catalog import labels, schema
from cloud_hub.catalog.database import batches, insert_new
from cloud_hub.catalog.rows import ReleaseRow
from modelsyncd.digest import Digest
from modelsyncd.names import ModelName, parse_model
from modelsyncd.release import ManifestRef, Release, Signature, SignedRelease, Variant


def load(connection: Connection, ids: Iterable[int]) -> dict[int, ReleaseRow]:
    """The releases with these row ids."""
    found: dict[int, ReleaseRow] = {}
    for batch in batches(sorted(set(ids))):
        signatures = _signatures(connection, batch)
        variants = _variants(connection, batch)
        channels = _channels(connection, batch)
        query = (
            select(schema.releases, schema.models.c.name)
            .join(schema.models, schema.models.c.id == schema.releases.c.model_id)
            .where(schema.releases.c.id.in_(batch))
        )
        for row in connection.execute(query):
            found[row.id] = ReleaseRow(
                parse_model(row.name),
                row.number,
                Digest(row.digest),
                SignedRelease(row.bytes, tuple(signatures[row.id])),
                tuple(variants[row.id]),
                tuple(channels[row.id]),
                row.committed_at,
                row.who,
            )
    return found


def newest_ids(connection: Connection, model_ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """By model row id: the row id of its newest release, and how many it has."""
    releases = schema.releases
    found: dict[int, tuple[int, int]] = {}
    for batch in batches(list(model_ids)):
        top = (
            select(releases.c.model_id, func.max(releases.c.number).label("number"), func.count().label("count"))
            .where(releases.c.model_id.in_(batch))
            .group_by(releases.c.model_id)
            .subquery()
        )
        query = select(releases.c.model_id, releases.c.id, top.c.count).join(
            top, and_(top.c.model_id == releases.c.model_id, top.c.number == releases.c.number)
        )
        found.update({model: (release, count) for model, release, count in connection.execute(query)})
    return found


def with_manifest(connection: Connection, model: ModelName, manifest: Digest) -> list[int]:
    """Row ids of the model's releases that have a variant with this manifest, newest first."""
    query = (
        select(schema.releases.c.id)
        .distinct()
        .add_columns(schema.releases.c.number)
        .join(schema.variants, schema.variants.c.release_id == schema.releases.c.id)
        .join(schema.models, schema.models.c.id == schema.releases.c.model_id)
        .where(schema.models.c.name == str(model), schema.variants.c.manifest == manifest)
        .order_by(schema.releases.c.number.desc())
    )
    return [release for release, _ in connection.execute(query)]


def write(
    connection: Connection,
    model_id: int,
    signed: SignedRelease,
    release: Release,
    digest: Digest,
    *,
    who: str,
    now: float,
) -> int:
    """Writes a release with all that belongs to it; its row id."""
    row = {"model_id": model_id, "number": release.number, "digest": digest, "bytes": signed.release}
    statement = insert(schema.releases).values(**row, committed_at=now, who=who).returning(schema.releases.c.id)
    release_id: int = connection.scalars(statement).one()
    if signed.signatures:
        connection.execute(
            insert(schema.signatures),
            [
                {
                    "release_id": release_id,
                    "position": position,
                    "algorithm": signature.algorithm,
                    "key_id": signature.key_id,
                    "value": signature.value,
                }
                for position, signature in enumerate(signed.signatures)
            ],
        )
    insert_new(connection, schema.manifests, [_manifest_row(variant.manifest) for variant in release.variants])
    if release.variants:
        connection.execute(
            insert(schema.variants),
            [
                {
                    "release_id": release_id,
                    "position": position,
                    "name": variant.name,
                    "selector": labels.write(variant.selector),
                    "manifest": variant.manifest.digest,
                }
                for position, variant in enumerate(release.variants)
            ],
        )
    return release_id


def _manifest_row(ref: ManifestRef) -> Mapping[str, object]:
    return {
        "digest": ref.digest,
        "size": ref.size,
        "content_size": ref.content_size,
        "files": ref.files,
        "chunk_digests": ref.chunk_digests,
    }


def _signatures(connection: Connection, ids: Iterable[int]) -> defaultdict[int, list[Signature]]:
    table = schema.signatures
    found: defaultdict[int, list[Signature]] = defaultdict(list)
    query = select(table).where(table.c.release_id.in_(ids)).order_by(table.c.release_id, table.c.position)
    for row in connection.execute(query):
        found[row.release_id].append(Signature(row.algorithm, row.key_id, row.value))
    return found


def _variants(connection: Connection, ids: Iterable[int]) -> defaultdict[int, list[Variant]]:
    variants, manifests = schema.variants, schema.manifests
    found: defaultdict[int, list[Variant]] = defaultdict(list)
    query = (
        select(variants, manifests)
        .join(manifests, manifests.c.digest == variants.c.manifest)
        .where(variants.c.release_id.in_(ids))
        .order_by(variants.c.release_id, variants.c.position)
    )
    for row in connection.execute(query):
        ref = ManifestRef(Digest(row.digest), row.size, row.content_size, row.files, row.chunk_digests)
        found[row.release_id].append(Variant(row.name, ref, labels.read(row.selector)))
    return found


def _channels(connection: Connection, ids: Iterable[int]) -> defaultdict[int, list[str]]:
    table = schema.channels
    found: defaultdict[int, list[str]] = defaultdict(list)
    query = select(table.c.release_id, table.c.name).where(table.c.release_id.in_(ids)).order_by(table.c.name)
    for release, name in connection.execute(query):
        found[release].append(name)
    return found
